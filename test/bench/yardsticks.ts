/** What the same machine does without us, measured between the changes so that both meet the same neighbours. */
import { spawn } from "node:child_process";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PAGE_BYTES = 8_192;
const POLL_MS = 1;
const START_MS_MAX = 30_000;
const PROBE_MS_MAX = 1_000;

/** A program as the kernel shows that one of its copies was started. */
export type Program = Readonly<{
  file: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
}>;

export function programOf(pid: number): Program {
  const [file = "", ...args] = fieldsOf(`/proc/${pid}/cmdline`);
  const pairs = fieldsOf(`/proc/${pid}/environ`).map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  return { file, args, env: Object.fromEntries(pairs) };
}

function fieldsOf(path: string): readonly string[] {
  return readFileSync(path, "utf8").split("\0").slice(0, -1);
}

/** ms from a bare spawn until /healthz answers well, asked every POLL_MS. The program is ended again. */
export async function bareStartMs(
  program: Program,
  places: Readonly<{ folder: string; seatsFile: string; port: number }>,
): Promise<number> {
  const { folder, seatsFile, port } = places;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // Nothing of what marks a copy: an agent must not take it for its own.
  const free = Object.entries(program.env).filter(([name]) => !name.startsWith("HOLDFAST_"));
  const env = {
    ...Object.fromEntries(free),
    HOLDFAST_DATA_DIR: folder,
    HOLDFAST_RUN_DIR: folder,
    HOLDFAST_SEATS_FILE: seatsFile,
    HOLDFAST_COPY: "bare",
    HOLDFAST_PORT_HTTP: String(port),
  };
  const startedAt = performance.now();
  const child = spawn(program.file, program.args, { cwd: folder, env, stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    for (const until = startedAt + START_MS_MAX; performance.now() < until; ) {
      if (await answersWell(port)) return performance.now() - startedAt;
      if (child.exitCode !== null) break;
      await sleep(POLL_MS);
    }
    throw new Error(`the program alone was not ready within ${START_MS_MAX} ms`);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}

function answersWell(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port, path: "/healthz", timeout: PROBE_MS_MAX });
    asked.once("response", (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.once("timeout", () => asked.destroy(new Error("timeout")));
    asked.once("error", () => resolve(false));
    asked.end();
  });
}

/** ms of one write of PAGE_BYTES with fsync, on the disk of `folder`. */
export function fsyncMs(folder: string): number {
  const path = join(folder, "fsync");
  writeFileSync(path, "");
  const file = openSync(path, "r+");
  try {
    const startedAt = performance.now();
    writeSync(file, Buffer.alloc(PAGE_BYTES, 1));
    fsyncSync(file);
    return performance.now() - startedAt;
  } finally {
    closeSync(file);
  }
}
