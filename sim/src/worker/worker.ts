/** A worker of a simulated fleet: prepares its agents, runs them, and hands on in batches what they tell. */
import { randomBytes, randomUUID } from "node:crypto";
import type { Enrolled } from "@holdfast/agent/src/enroll.ts";
import { openHub } from "@holdfast/cli/src/hub-client.ts";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import { systemClock } from "@holdfast/shared/clock.ts";
import { asFault, causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { SimAgent } from "../agent/sim-agent.ts";
import { KeySets } from "../agent/trust.ts";
import { seeded } from "../chance.ts";
import type { SimEvent, WallClock } from "../events.ts";
import { Enroller } from "./enroller.ts";
import { IdentityFiles } from "./identity-file.ts";
import type { FromWorker, ToWorker, WorkerOrder } from "./messages.ts";
import { prepareAll } from "./preparation.ts";

/** Events wait this long for company: their times are taken when they happen. */
const FLUSH_MS = 20;
const EVENTS_PER_MESSAGE_MAX = 1_000;
/** How often progress is told. */
const PROGRESS_AGENTS = 25;

export type WorkerHost = Readonly<{
  version: string;
  terminal: Terminal;
  wall: WallClock;
  say(message: FromWorker): void;
}>;

export class Worker {
  readonly #host: WorkerHost;
  readonly #stop = new AbortController();
  readonly #keySets = new KeySets();
  #events: SimEvent[] = [];
  #flushing = false;
  #agents: readonly SimAgent[] = [];

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  /** Never rejects: what fails is told. */
  async take(message: ToWorker): Promise<void> {
    try {
      switch (message.type) {
        case "prepare":
          await this.#prepare(message.order);
          this.#host.say({ type: "prepared" });
          return;
        case "connect":
          await this.#connect(message.overMs);
          return;
        case "stop":
          await this.stop();
          this.#host.say({ type: "stopped" });
          return;
      }
    } catch (error) {
      const { code, reason, message: text } = asFault(error, causeChain(error));
      this.#host.say({ type: "failed", message: `${code} ${reason}: ${text}` });
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    this.#flush();
  }

  async #prepare(order: WorkerOrder): Promise<void> {
    const { terminal, version, say } = this.#host;
    const files = new IdentityFiles(order.stateDir);
    const hub = await openHub(terminal, order.context);
    const enroller = new Enroller(version);
    try {
      const prepared = await prepareAll(
        {
          ...{ hub, enroller, files, wish: order.wish, clock: systemClock },
          random: seeded(order.seed, `prepare ${order.names[0]}`),
          randomUuid: randomUUID,
          signal: this.#stop.signal,
          progress: (count) => {
            const isLast = count === order.names.length;
            if (isLast || count % PROGRESS_AGENTS === 0) say({ type: "progress", prepared: count });
          },
        },
        order.names,
      );
      this.#agents = prepared.map((enrolled, at) => {
        return this.#agent(order, order.names[at] ?? "", enrolled, files);
      });
    } finally {
      enroller.close();
      hub.close();
    }
  }

  #agent(order: WorkerOrder, name: string, enrolled: Enrolled, files: IdentityFiles): SimAgent {
    const { linkEndpoints, pace, faults, seed, debug } = order;
    const { version, wall } = this.#host;
    return new SimAgent({
      ...{ name, enrolled, linkEndpoints, pace, faults, version, wall, randomBytes },
      keySets: this.#keySets,
      clock: systemClock,
      random: seeded(seed, name),
      log: this.#log(name, debug),
      tell: (event) => this.#tell(event),
      keep: (renewed) => files.put(name, renewed),
    });
  }

  async #connect(overMs: number): Promise<void> {
    const { signal } = this.#stop;
    const startedAt = systemClock.monotonic();
    for (const [at, agent] of this.#agents.entries()) {
      const due = startedAt + (overMs * at) / this.#agents.length - systemClock.monotonic();
      if (due > 0) await systemClock.sleep(due, signal);
      if (signal.aborted) return;
      agent.start();
    }
  }

  #tell(event: SimEvent): void {
    this.#events.push(event);
    if (this.#flushing) return;
    this.#flushing = true;
    void systemClock.sleep(FLUSH_MS).then(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#events.length > 0) {
      const events = this.#events.splice(0, EVENTS_PER_MESSAGE_MAX);
      this.#host.say({ type: "events", events });
    }
  }

  /** Warnings and errors; with `debug` everything. */
  #log(agent: string, debug: boolean): Log {
    const line = (level: string) => (fields: Readonly<Record<string, unknown>>, text: string) => {
      const message = `${agent}: ${text} ${JSON.stringify(fields)}`;
      this.#host.say({ type: "log", level, message });
    };
    const nothing = () => undefined;
    const log: Log = {
      debug: debug ? line("debug") : nothing,
      info: debug ? line("info") : nothing,
      warn: line("warn"),
      error: line("error"),
      child: () => log,
    };
    return log;
  }
}
