/**
 * One simulated agent: the agent's real link over ports in memory. Starts, leaves, loses its memory; what it learns it
 * tells as events.
 */
import { purposeClaimed } from "@holdfast/agent/src/assignments/judge.ts";
import type { Enrolled } from "@holdfast/agent/src/enroll.ts";
import type { KeepaliveTiming } from "@holdfast/agent/src/link/hub-client.ts";
import { type Link, startLink } from "@holdfast/agent/src/link/link.ts";
import type {
  FetchPort,
  Identity,
  IdentityPort,
  ReportPort,
} from "@holdfast/agent/src/link/port.ts";
import type { NewRecord } from "@holdfast/agent/src/metering/records.ts";
import { UsageReport } from "@holdfast/agent/src/metering/report.ts";
import type { BatchAck } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Tell, WallClock } from "../events.ts";
import type { Faults } from "../faults.ts";
import { SimControl } from "./control.ts";
import { SimTelemetry } from "./telemetry.ts";
import { type KeySets, Trust } from "./trust.ts";
import { type Life, runUsage } from "./usage.ts";
import { MemoryOutbox } from "./usage-outbox.ts";

export type Pace = Readonly<{
  /** Until a generation is ready. */
  readyMs: number;
  /** Between usage records; 0: none. */
  usageMs: number;
  /** Between reports of a status in which nothing changed; 0: none, as a real agent does. */
  statusMs: number;
  keepalive: KeepaliveTiming;
}>;

export type SimAgentDeps = Readonly<{
  name: string;
  enrolled: Enrolled;
  /** Instead of where the hub said that the link is, such as a proxy; empty: as the hub said. */
  linkEndpoints: readonly string[];
  pace: Pace;
  faults: Faults;
  keySets: KeySets;
  version: string;
  clock: Clock;
  wall: WallClock;
  random: Random;
  randomBytes(count: number): Uint8Array;
  log: Log;
  tell: Tell;
  /** A renewed certificate, to be kept. */
  keep(enrolled: Enrolled): void;
}>;

export class SimAgent {
  readonly name: string;
  readonly #deps: SimAgentDeps;
  readonly #control: SimControl;
  readonly #stop = new AbortController();
  readonly #batchBell: Doorbell;
  readonly #bootId: string;
  readonly #telemetry: SimTelemetry;
  readonly #loops: Promise<void>[] = [];
  #enrolled: Enrolled;
  #life: Life;
  #link: Link | undefined;

  constructor(deps: SimAgentDeps) {
    const { name, enrolled, keySets, clock, faults, random } = deps;
    this.name = name;
    this.#deps = deps;
    this.#enrolled = enrolled;
    this.#batchBell = new Doorbell(clock);
    this.#life = this.#newLife();
    this.#bootId = Buffer.from(deps.randomBytes(16)).toString("hex");
    const { vendorId, cellId, fencing } = enrolled.identity;
    const addressee = { vendorId, cellId };
    const trust = new Trust(addressee, keySets);
    for (const envelope of enrolled.keySets) {
      // Simulated agents keep no data; destroy keys may be vouched for by release keys that are no more.
      if (purposeClaimed(envelope) !== KeyPurpose.DESTROY) trust.pin(envelope);
    }
    this.#control = new SimControl({
      ...deps,
      ...{ addressee, fencing, trust, agent: name, agentVersion: deps.version },
      bootId: this.#bootId,
      incarnation: enrolled.incarnation,
      fetch: { fetchRelease: (digest, signal) => this.#fetch().fetchRelease(digest, signal) },
      signal: this.#stop.signal,
      readyMs: deps.pace.readyMs,
      slowMs: () => faults.slowMs,
      fails: () => random() < faults.failShare,
    });
    this.#telemetry = new SimTelemetry({
      ...{ life: this.#bootId, clock },
      statuses: () => this.#control.statuses(),
      ring: () => this.#batchBell.ring(),
    });
  }

  get isUp(): boolean {
    return this.#link !== undefined && this.#control.isUp;
  }

  /** Connects, and begins with the faults that it was given. */
  start(): void {
    const { signal } = this.#stop;
    const { faults, pace } = this.#deps;
    this.#connect();
    if (pace.usageMs > 0) this.#loops.push(this.#measure(signal));
    if (pace.statusMs > 0) this.#loops.push(this.#repeat(pace.statusMs, () => this.#restate()));
    if (faults.flapMs > 0) this.#loops.push(this.#repeat(faults.flapMs, () => this.#reconnect()));
    if (faults.forgetMs > 0) this.#loops.push(this.#repeat(faults.forgetMs, () => this.#forget()));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    const link = this.#link;
    this.#link = undefined;
    await Promise.all([link?.stop(), ...this.#loops]);
  }

  #connect(): void {
    const { clock, random, log, pace } = this.#deps;
    this.#link = startLink({
      identity: this.#identityPort(),
      control: this.#control,
      report: this.#reportPort(),
      telemetry: this.#telemetry.report,
      ...{ clock, random, log, timing: pace.keepalive },
    });
  }

  #identityPort(): IdentityPort {
    const { linkEndpoints } = this.#deps;
    return {
      identity: (): Identity => {
        const { identity } = this.#enrolled;
        return linkEndpoints.length === 0 ? identity : { ...identity, linkEndpoints };
      },
      renewed: (tlsKey, certificate) => {
        const identity = { ...this.#enrolled.identity, tlsKey, certificate };
        this.#enrolled = { ...this.#enrolled, identity };
        this.#deps.keep(this.#enrolled);
      },
    };
  }

  /** The agent's own stream over the outbox in memory. */
  #reportPort(): ReportPort {
    const { log, tell, name: agent, wall, randomBytes } = this.#deps;
    const { outbox } = this.#life;
    const report = new UsageReport({
      ...{ outbox, log, batchBell: this.#batchBell, bootId: this.#bootId },
      identity: () => this.#enrolled.identity,
      nonce: () => randomBytes(16),
    });
    return {
      batchBell: report.batchBell,
      open: () => report.open(),
      opened: (page) => report.opened(page),
      nextBatch: () => report.nextBatch(),
      fenced: (fenced) => report.fenced(fenced),
      acked: (ack: BatchAck) => {
        const before = outbox.state().acceptedSeq;
        report.acked(ack);
        const records = Number(outbox.state().acceptedSeq - before);
        if (records > 0) tell({ type: "acknowledged", agent, records, at: wall() });
      },
    };
  }

  #measure(signal: AbortSignal): Promise<void> {
    const { clock, random, pace } = this.#deps;
    const deps = {
      ...{ clock, random, everyMs: pace.usageMs },
      life: () => this.#life,
      instances: () => this.#control.instances.values(),
      recorded: (records: readonly NewRecord[]) => {
        this.#telemetry.measured(records);
        this.#batchBell.ring();
        this.#control.statusBell.ring();
      },
    };
    return runUsage(deps, signal);
  }

  #restate(): void {
    for (const instance of this.#control.instances.values()) instance.changed();
    this.#control.statusBell.ring();
  }

  async #reconnect(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    await link?.stop();
    this.#control.left();
    if (!this.#stop.signal.aborted) this.#connect();
  }

  async #forget(): Promise<void> {
    this.#control.forget();
    this.#life = this.#newLife();
    await this.#reconnect();
  }

  /** About every so often: between half and one and a half times. */
  async #repeat(everyMs: number, work: () => void | Promise<void>): Promise<void> {
    const { clock, random } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(everyMs * (0.5 + random()), signal);
      if (!signal.aborted) await work();
    }
  }

  #newLife(): Life {
    const { randomBytes, clock } = this.#deps;
    const source = Buffer.from(randomBytes(8)).toString("hex");
    return { source, since: clock.now(), outbox: new MemoryOutbox() };
  }

  #fetch(): Pick<FetchPort, "fetchRelease"> {
    if (this.#link !== undefined) return this.#link.fetch;
    throw new Fault("UNAVAILABLE", "LINK_DOWN", "this agent is not connected");
  }
}
