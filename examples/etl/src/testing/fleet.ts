/** Real worker processes from the built artefacts, in a directory of their own, for the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildReleases } from "../../build.ts";
import { type CompareOptions, compare } from "../compare.ts";
import type { Seat } from "../model.ts";

const DEADLINE_MS = 15_000;
const LOOK_AGAIN_MS = 5;

export const SEATS: readonly Seat[] = [
  { id: "sea_a", name: "acme", reserved: false },
  { id: "sea_g", name: "globex", reserved: false },
  { id: "sea_r", name: "vendor", reserved: true },
];

/** Seed of the test run; a failing one is repeated with HOLDFAST_TEST_SEED. */
export const TEST_SEED = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);

export type Copy = Readonly<{
  child: ChildProcess;
  url: string;
  /** Parsed log lines so far. */
  log: readonly Readonly<Record<string, unknown>>[];
  get: (path: string) => Promise<Readonly<{ status: number; text: string }>>;
  /** Sends the signal and resolves with exit code and signal. */
  end: (signal: NodeJS.Signals) => Promise<readonly [number | null, NodeJS.Signals | null]>;
}>;

export type StartOptions = Readonly<{
  version?: string;
  source?: string;
  destination?: string;
  env?: Readonly<Record<string, string>>;
}>;

/** A data directory, a seats file, a source path, and the workers started on them. Dispose of it in the end. */
export class Fleet implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "etl-test-"));
  readonly source = join(this.directory, "source.db");
  readonly destination = join(this.directory, "warehouse.db");
  readonly seatsFile = join(this.directory, "seats.json");
  readonly #children = new Set<ChildProcess>();

  static async create(): Promise<Fleet> {
    const fleet = new Fleet();
    await buildReleases(join(fleet.directory, "dist"));
    fleet.writeSeats(SEATS);
    return fleet;
  }

  writeSeats(seats: readonly Seat[]): void {
    const list = seats.map(({ id, name, reserved }) => ({
      seat: id,
      name,
      reserved,
      allotments: [],
    }));
    writeFileSync(this.seatsFile, JSON.stringify({ revision: "1.1", seats: list }));
  }

  /** Resolves once the worker listens. */
  async start({
    version = "1.0.0",
    source,
    destination,
    env = {},
  }: StartOptions = {}): Promise<Copy> {
    const worker = join(this.directory, "dist", version, "worker.mjs");
    const flags = [
      "--source",
      source ?? this.source,
      "--destination",
      destination ?? "warehouse.db",
    ];
    const child = spawn(process.execPath, ["--no-warnings", worker, ...flags], {
      cwd: this.directory,
      stdio: ["ignore", "pipe", "ignore"],
      env: {
        TZ: "UTC",
        HOLDFAST_DATA_DIR: this.directory,
        HOLDFAST_SEATS_FILE: this.seatsFile,
        POLL_MS: "10",
        LEASE_MS: "1000",
        ...env,
      },
    });
    this.#children.add(child);
    const log: Record<string, unknown>[] = [];
    collectLines(child, (line) => log.push(JSON.parse(line)));
    await until("the worker listens", () => log.length > 0 || child.exitCode !== null);
    const url = `http://127.0.0.1:${log[0]?.["port"]}`;
    return {
      child,
      url,
      log,
      get: async (path) => {
        const response = await fetch(url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
        return { status: response.status, text: await response.text() };
      },
      end: async (signal) => {
        const ended = once(child, "close");
        child.kill(signal);
        return (await ended) as [number | null, NodeJS.Signals | null];
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Resolves when the condition holds; rejects with what it waited for after the deadline. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${DEADLINE_MS} ms in vain: ${what}`);
    await sleep(LOOK_AGAIN_MS);
  }
}

/** Resolves once every row is copied; a destination that is not created yet has none. */
export async function untilComplete(options: CompareOptions): Promise<void> {
  await until("all rows are copied", async () => {
    try {
      return (await compare(options)).isComplete;
    } catch (error) {
      const isCreated = !/no such table|unable to open|does not exist/.test(String(error));
      if (isCreated) throw error;
      return false;
    }
  });
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function collectLines(child: ChildProcess, take: (line: string) => void): void {
  let rest = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}
