/**
 * Takes the output of containers over into logs of our own, from where the last life of the agent left off. The engine
 * keeps what is not taken yet, within its bound, so that neither a workload nor the engine ever waits for us. Follows
 * only where somebody asks for logs.
 */
import { mkdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { DriverContext, ResourceKey } from "../driver.ts";
import { readJson, replaceJson } from "../json-file.ts";
import { openLog, tendLogs } from "../logs.ts";
import { type Copy, findCopies } from "./copies.ts";
import { framesIn, timed } from "./frames.ts";
import type { ContainerHost } from "./host.ts";

/** Copies that are followed at once; of more the rest waits for the next look. */
const FOLLOWED_MAX = 500;
/** Between two looks for containers that nobody follows yet. */
const FIND_MS = 2_000;
/** Of one frame; the engine cuts lines at 16 KiB. */
const PENDING_BYTES_MAX = 1_048_576;
/** For what the engine has not sent yet of a copy that is to be removed. */
const DRAIN_MS_MAX = 2_000;

type Cursor = Readonly<{ at: string; isDone: boolean }>;
type Followed = Readonly<{ ended: Promise<void> }>;

export class Followers {
  readonly #followed = new Map<string, Followed>();
  #foundAt = Number.NEGATIVE_INFINITY;
  #isUsed = false;

  /** Sees to it that every copy's output is followed. Cheap but for one look in FIND_MS. */
  async follow(host: ContainerHost, context: DriverContext): Promise<void> {
    this.#isUsed = true;
    const now = context.clock.monotonic();
    if (now - this.#foundAt < FIND_MS) return;
    this.#foundAt = now;
    for (const copy of await findCopies(host, context)) this.#begin(host, copy, context);
  }

  /** To the end of what a copy has written, where anybody reads logs at all. Never rejects. */
  async drain(host: ContainerHost, copy: Copy, context: DriverContext): Promise<void> {
    if (this.#isUsed) await this.keep(host, copy, context);
  }

  /** The same, whoever reads it. */
  async keep(host: ContainerHost, copy: Copy, context: DriverContext): Promise<void> {
    this.#begin(host, copy, context);
    const ended = this.#followed.get(copy.id)?.ended;
    if (ended === undefined) return;
    const done = new AbortController();
    await Promise.race([ended, context.clock.sleep(DRAIN_MS_MAX, done.signal)]);
    done.abort("over");
  }

  #begin(host: ContainerHost, copy: Copy, context: DriverContext): void {
    if (copy.state === "created" || this.#followed.has(copy.id)) return;
    if (this.#followed.size >= FOLLOWED_MAX || readCursor(copy.runDir).isDone) return;
    const ended = followOne(host, copy, context)
      .catch((error: unknown) => {
        context.log.debug(
          { copy: copy.handle, error: causeChain(error) },
          "output is not followed",
        );
      })
      .finally(() => this.#followed.delete(copy.id));
    this.#followed.set(copy.id, { ended });
  }
}

export function logFolders({ instanceId }: ResourceKey, context: DriverContext) {
  const { logs, run } = context.directories(instanceId);
  return { logs, run };
}

/** Until the container ends or the engine goes away. */
async function followOne(host: ContainerHost, copy: Copy, context: DriverContext): Promise<void> {
  const { at: since } = readCursor(copy.runDir);
  const stream = await host.dock.ask(
    copy.handle,
    context.signal,
    (docker) =>
      docker.getContainer(copy.id).logs({
        ...{ follow: true as const, stdout: true, stderr: true, timestamps: true },
        ...(since !== "" && { since: Math.floor(Date.parse(since) / 1_000) }),
      }),
    "follow",
  );
  const leave = () => (stream as NodeJS.ReadableStream & { destroy(): void }).destroy();
  context.signal.addEventListener("abort", leave, { once: true });
  const log = openLog(logFolders(copy.key, context).logs, copy.key.resourceId, {
    handle: copy.handle,
    kept: [copy.handle],
  });
  let last = since;
  let pending = Buffer.alloc(0);
  try {
    for await (const part of stream as AsyncIterable<Buffer>) {
      const { frames, rest } = framesIn(Buffer.concat([pending, part]));
      pending = Buffer.from(rest.length > PENDING_BYTES_MAX ? rest.subarray(0, 0) : rest);
      const fresh = frames.map(timed).filter(({ at }) => at > last);
      if (fresh.length === 0) continue;
      writeSync(log.file, Buffer.concat(fresh.map(({ content }) => content)));
      last = fresh.at(-1)?.at ?? last;
      writeCursor(copy.runDir, { at: last, isDone: false });
      tendLogs(logFolders(copy.key, context), copy.handle, context);
    }
    if (!context.signal.aborted) await finish(host, copy, last, context);
  } finally {
    context.signal.removeEventListener("abort", leave);
    log.close();
  }
}

/** A stream also ends where the engine does: only of a container that has ended nothing more will come. */
async function finish(
  host: ContainerHost,
  copy: Copy,
  at: string,
  context: DriverContext,
): Promise<void> {
  const now = (await findCopies(host, context)).find(({ id }) => id === copy.id);
  if (now?.state === "exited" || now?.state === "dead")
    writeCursor(copy.runDir, { at, isDone: true });
}

function readCursor(runDir: string): Cursor {
  const { at, isDone } = readJson(join(runDir, "log.json")) ?? {};
  return { at: typeof at === "string" ? at : "", isDone: isDone === true };
}

function writeCursor(runDir: string, cursor: Cursor): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  replaceJson(join(runDir, "log.json"), cursor);
}
