/**
 * A fleet of simulated agents in processes of their own. For programs: prepare, connect, listen to what they tell,
 * stop. The agents run the real link; what lies below it is light, so that thousands fit on one machine.
 */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Context } from "@holdfast/cli/src/contexts.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Pace } from "../agent/sim-agent.ts";
import type { SimEvent } from "../events.ts";
import { type Faults, NO_FAULTS } from "../faults.ts";
import type { FromWorker, InstanceWish, ToWorker } from "../worker/messages.ts";
import { PROCESSES_MAX } from "./bounds.ts";

const STOP_MS_MAX = 30_000;
const NAME_DIGITS = 5;

export const DEFAULT_PACE: Pace = {
  readyMs: 0,
  usageMs: 60_000,
  statusMs: 0,
  keepalive: { keepaliveMs: 10_000, keepaliveTimeoutMs: 5_000 },
};

export type SimFleetOptions = Readonly<{
  agents: number;
  /** Names are PREFIX-00001 and so on, for cells, agents and instances alike. */
  prefix?: string;
  processes?: number;
  context: Context;
  /** Keeps identities; used again by the next run with the same prefix. */
  stateDir: string;
  /** What each agent is to hold; without it, whatever its cell has. */
  wish?: InstanceWish;
  /** host:port instead of where the hub said that the link is, such as a proxy. */
  linkEndpoints?: readonly string[];
  pace?: Partial<Pace>;
  faults?: Faults;
  seed?: number;
  debug?: boolean;
  onEvent?(event: SimEvent): void;
  onProgress?(prepared: number): void;
  onLog?(level: string, message: string): void;
}>;

export type SimFleet = Readonly<{
  pids: readonly number[];
  /** Every agent has a cell, an identity and an instance. Rejects with the first that did not get one. */
  prepare(): Promise<void>;
  /** Begins to connect, all at once or spread over a time; events tell how it goes. */
  connect(overMs?: number): void;
  /** Ends all sessions and processes; those that do not end in time are killed. */
  stop(): Promise<void>;
}>;

export function agentNames(prefix: string, agents: number): readonly string[] {
  return Array.from({ length: agents }, (_, at) => {
    return `${prefix}-${String(at + 1).padStart(NAME_DIGITS, "0")}`;
  });
}

/** Starts the processes; nothing is asked of the hub before `prepare`. */
export function startSimFleet(options: SimFleetOptions): SimFleet {
  const names = agentNames(options.prefix ?? "sim", options.agents);
  const count = Math.max(1, Math.min(options.processes ?? 1, names.length, PROCESSES_MAX));
  const workers = Array.from({ length: count }, (_, at) => {
    const own = names.filter((_name, index) => index % count === at);
    return new WorkerProcess(own, options, () => {
      options.onProgress?.(workers.reduce((sum, { prepared }) => sum + prepared, 0));
    });
  });
  return {
    pids: workers.map(({ pid }) => pid),
    prepare: async () => void (await Promise.all(workers.map((worker) => worker.prepare()))),
    connect: (overMs = 0) => {
      for (const worker of workers) worker.tell({ type: "connect", overMs });
    },
    stop: async () => void (await Promise.all(workers.map((worker) => worker.stop()))),
  };
}

class WorkerProcess {
  readonly pid: number;
  prepared = 0;
  readonly #names: readonly string[];
  readonly #options: SimFleetOptions;
  readonly #onProgress: () => void;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isStopping = false;
  #settle: { done(): void; fail(fault: Fault): void } | undefined;

  constructor(names: readonly string[], options: SimFleetOptions, onProgress: () => void) {
    this.#names = names;
    this.#options = options;
    this.#onProgress = onProgress;
    this.#child = fork(join(import.meta.dirname, "../worker/main.ts"), { stdio: "inherit" });
    this.pid = this.#child.pid ?? 0;
    this.#child.on("message", (message) => this.#take(message as FromWorker));
    this.#child.on("error", (error) => this.#fail(`could not start: ${error.message}`));
    this.#ended = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        if (!this.#isStopping) this.#fail(`the process ended with ${code ?? signal}`);
        resolve();
      });
    });
  }

  prepare(): Promise<void> {
    const { context, stateDir, wish, linkEndpoints, pace, faults, seed, debug } = this.#options;
    const prepared = new Promise<void>((resolve, reject) => {
      this.#settle = { done: resolve, fail: reject };
    });
    this.tell({
      type: "prepare",
      order: {
        ...{ context, stateDir, names: this.#names, linkEndpoints: linkEndpoints ?? [] },
        ...(wish !== undefined && { wish }),
        pace: { ...DEFAULT_PACE, ...pace },
        faults: faults ?? NO_FAULTS,
        seed: seed ?? 0,
        debug: debug ?? false,
      },
    });
    return prepared;
  }

  tell(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.tell({ type: "stop" });
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS_MAX);
    await this.#ended;
    clearTimeout(timer);
  }

  #take(message: FromWorker): void {
    switch (message.type) {
      case "progress":
        this.prepared = message.prepared;
        this.#onProgress();
        return;
      case "prepared":
        this.#settle?.done();
        return;
      case "events":
        for (const event of message.events) this.#options.onEvent?.(event);
        return;
      case "log":
        this.#options.onLog?.(message.level, message.message);
        return;
      case "failed":
        this.#fail(message.message);
        return;
      case "stopped":
        // The worker ends when nobody is there any more.
        if (this.#child.connected) this.#child.disconnect();
        return;
    }
  }

  #fail(what: string): void {
    this.#options.onLog?.("error", `worker ${this.pid}: ${what}`);
    this.#settle?.fail(new Fault("ABORTED", "WORKER_FAILED", `simulated agents: ${what}`));
  }
}
