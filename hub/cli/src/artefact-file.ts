/**
 * Artefacts as they are transported: a directory becomes a tar whose bytes depend on nothing but names, contents
 * and executable bits; a file goes as it is. Links and special files are refused: an agent would not unpack them.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";
import { pack } from "tar-stream";

/** Content of an artefact on disk, measured. */
export type PackedArtefact = Readonly<{
  name: string;
  file: string;
  digest: string;
  size: number;
  mediaType: string;
}>;

export const ENTRIES_MAX = 100_000;
const DEPTH_MAX = 64;
/** Of every entry: the same content gives the same digest wherever and whenever it is packed. */
const ENTRY_TIME = new Date(0);

type Entry = Readonly<{
  path: string;
  name: string;
  isDirectory: boolean;
  size: number;
  mode: number;
}>;

/** `directory` takes the tar. Throws INVALID_ARGUMENT `ARTEFACT_UNREADABLE` or `ARTEFACT_ENTRY`. */
export async function packArtefact(
  name: string,
  path: string,
  directory: string,
): Promise<PackedArtefact> {
  const isDirectory = await lstat(path).then(
    (found) => found.isDirectory(),
    (error: unknown) => {
      throw unreadable(`artefact ${shown(name)}`, path, error);
    },
  );
  if (!isDirectory) {
    const { digest, size } = await measure(path);
    return { name, file: path, digest, size, mediaType: "application/octet-stream" };
  }
  const file = join(directory, `${name}.tar`);
  await writeTar(await entriesOf(path), file);
  const { digest, size } = await measure(file);
  return { name, file, digest, size, mediaType: "application/x-tar" };
}

/** In the order of their names as bytes, directories before what is in them. */
async function entriesOf(root: string): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const visit = async (path: string, name: string, depth: number): Promise<void> => {
    const names = await readdir(path);
    for (const each of names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const child = join(path, each);
      const childName = name === "" ? each : `${name}/${each}`;
      const found = await lstat(child);
      if (!found.isDirectory() && !found.isFile()) {
        throw refuse(`${shown(child)} is neither a file nor a directory; links are not packed`);
      }
      if (found.nlink > 1 && found.isFile()) {
        throw refuse(`${shown(child)} is a hard link; copy the file instead`);
      }
      entries.push({
        path: child,
        name: childName,
        isDirectory: found.isDirectory(),
        size: found.size,
        mode: found.isDirectory() || (found.mode & 0o100) !== 0 ? 0o755 : 0o644,
      });
      if (entries.length > ENTRIES_MAX) throw refuse(`more than ${ENTRIES_MAX} entries`);
      if (depth > DEPTH_MAX)
        throw refuse(`${shown(child)} is nested too deeply; limit ${DEPTH_MAX}`);
      if (found.isDirectory()) await visit(child, childName, depth + 1);
    }
  };
  await visit(root, "", 1);
  return entries;
}

function refuse(message: string): Fault {
  return new Fault("INVALID_ARGUMENT", "ARTEFACT_ENTRY", `artefact: ${message}`);
}

async function writeTar(entries: readonly Entry[], file: string): Promise<void> {
  const tar = pack();
  const written = pipeline(tar, createWriteStream(file, { mode: 0o600 }));
  const fill = async () => {
    for (const { path, name, isDirectory, size, mode } of entries) {
      const owner = { uid: 0, gid: 0, uname: "", gname: "", mtime: ENTRY_TIME, mode };
      if (isDirectory) {
        tar.entry({ ...owner, name: `${name}/`, type: "directory" }, "");
      } else {
        await pipeline(createReadStream(path), tar.entry({ ...owner, name, size }));
      }
    }
    tar.finalize();
  };
  await Promise.all([written, fill()]);
}

async function measure(file: string): Promise<Readonly<{ digest: string; size: number }>> {
  const hash = createHash("sha256");
  let size = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done();
    },
  });
  count.resume();
  await pipeline(createReadStream(file), count);
  return { digest: `sha256:${hash.digest("hex")}`, size };
}
