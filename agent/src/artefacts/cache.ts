/**
 * The agent's store of verified content: `artefacts/sha256/<hex>/content`, a directory or one file. Content
 * appears there only after its digest was checked, by one rename, so whatever is there may be used.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseDigest } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { FetchPort } from "../link/port.ts";
import { unpackTar } from "./unpack.ts";

export const ARTEFACT_BYTES_MAX = 4 * 1024 ** 3;
const TAR = "application/x-tar";

export type ArtefactRef = Readonly<{ digest: string; size: bigint; mediaType: string }>;

export class ArtefactCache {
  readonly #root: string;
  readonly #fetch: Pick<FetchPort, "fetchArtefact">;
  /** One download of one digest at a time, shared by all who want it. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(stateDir: string, fetch: Pick<FetchPort, "fetchArtefact">) {
    this.#root = join(stateDir, "artefacts", "sha256");
    this.#fetch = fetch;
  }

  /** Where the content is once `ensure` has returned. Bound, since it is handed on by itself. */
  readonly pathOf = (digest: string): string => join(this.#root, hexOf(digest), "content");

  /**
   * Fetches and verifies what is not there yet; a broken download goes on where it ended.
   * Throws UNAVAILABLE while there is no link, PERMISSION_DENIED `ARTEFACT_SWAPPED` and
   * INVALID_ARGUMENT `ARTEFACT_SIZE` or `ARTEFACT_UNSAFE`.
   */
  async ensure(artefact: ArtefactRef, signal: AbortSignal): Promise<void> {
    if (this.has(artefact.digest)) return;
    const running = this.#running.get(artefact.digest);
    if (running !== undefined) return await running;
    const download = this.#download(artefact, signal).finally(() => {
      this.#running.delete(artefact.digest);
    });
    this.#running.set(artefact.digest, download);
    await download;
  }

  readonly has = (digest: string): boolean => existsSync(this.pathOf(digest));

  /** Removes all that is not in `kept`, which holds digests. Number of removed ones. */
  async prune(kept: ReadonlySet<string>): Promise<number> {
    const names = await readdir(this.#root).catch(() => []);
    const stale = names.filter(
      (name) => !kept.has(`sha256:${name}`) && !this.#running.has(`sha256:${name}`),
    );
    for (const name of stale) await rm(join(this.#root, name), { recursive: true, force: true });
    return stale.length;
  }

  async #download(artefact: ArtefactRef, signal: AbortSignal): Promise<void> {
    if (artefact.size > BigInt(ARTEFACT_BYTES_MAX)) {
      throw new Fault(
        "INVALID_ARGUMENT",
        "ARTEFACT_SIZE",
        `artefact ${artefact.digest}: ${artefact.size} bytes; at most ${ARTEFACT_BYTES_MAX}`,
      );
    }
    const directory = join(this.#root, hexOf(artefact.digest));
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const partial = join(directory, "partial");
    await this.#append(partial, artefact, signal);
    await verify(partial, artefact);
    if (artefact.mediaType !== TAR) {
      await rename(partial, join(directory, "content"));
      return;
    }
    const unpacked = join(directory, "unpacked");
    await rm(unpacked, { recursive: true, force: true });
    await unpackTar(createReadStream(partial), Number(artefact.size), unpacked);
    await rename(unpacked, join(directory, "content"));
    await rm(partial, { force: true });
  }

  async #append(partial: string, artefact: ArtefactRef, signal: AbortSignal): Promise<void> {
    const size = Number(artefact.size);
    let offset = (await stat(partial).catch(() => undefined))?.size ?? 0;
    if (offset > size) {
      await rm(partial, { force: true });
      offset = 0;
    }
    if (offset === size && existsSync(partial)) return;
    const file = await open(partial, "a", 0o600);
    try {
      for await (const chunk of this.#fetch.fetchArtefact(
        artefact.digest,
        BigInt(offset),
        signal,
      )) {
        offset += chunk.length;
        if (offset > size) break;
        await file.write(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (offset === size) return;
    if (offset < size) {
      throw new Fault(
        "UNAVAILABLE",
        "ARTEFACT_SHORT",
        `artefact ${artefact.digest}: got ${offset} of ${size} bytes; the rest comes next time`,
      );
    }
    await rm(partial, { force: true });
    throw new Fault(
      "PERMISSION_DENIED",
      "ARTEFACT_SWAPPED",
      `artefact ${artefact.digest}: more than the ${size} bytes that the release names`,
    );
  }
}

async function verify(partial: string, { digest }: ArtefactRef): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(partial)) hash.update(chunk as Uint8Array);
  const found = `sha256:${hash.digest("hex")}`;
  if (found === digest) return;
  await rm(partial, { force: true });
  throw new Fault(
    "PERMISSION_DENIED",
    "ARTEFACT_SWAPPED",
    `artefact: got content ${found}; the release names ${digest}`,
  );
}

function hexOf(digest: string): string {
  return parseDigest(digest, "artefact digest").slice("sha256:".length);
}
