/**
 * All instances of this agent: one loop each, one shared look at what runs, and the statuses that the link and
 * the local page read. Adopts at its start whatever the store knows.
 */
import { isDeepStrictEqual } from "node:util";
import { equals, fromBinary } from "@bufbuild/protobuf";
import type { ActionResult } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { InstanceStatusSchema } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import { StepOutputs } from "../output/outputs.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { VersionedStatus } from "../store/statuses.ts";
import * as statuses from "../store/statuses.ts";
import { allowRemoval } from "./budget.ts";
import { watchDrivers } from "./driver-watches.ts";
import { forgetRemoved } from "./forgetting.ts";
import { InstanceLoop } from "./instance.ts";
import { KeptLooks } from "./kept.ts";
import { Orders } from "./orders.ts";
import { Snapshots } from "./snapshots.ts";
import { statusOf } from "./status.ts";
import type { EngineDeps, Work } from "./work.ts";

type Running = Readonly<{ loop: InstanceLoop; ended: Promise<void>; gone: AbortController }>;

export class Engine {
  readonly statusBell: Doorbell;
  readonly snapshots: Snapshots;
  readonly orders: Orders;
  readonly kept: KeptLooks;
  readonly outputs: StepOutputs;
  readonly #deps: EngineDeps;
  readonly #stop = new AbortController();
  #looking: Promise<void> = Promise.resolve();
  readonly #running = new Map<string, Running>();
  readonly #stored = new Map<string, number>();
  readonly #statuses = new Map<string, VersionedStatus>();
  /** From what the statuses were made. */
  readonly #views = new Map<string, ReturnType<InstanceLoop["view"]>>();
  /** Whose status is to be worked out. */
  readonly #due = new Set<string>();

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.statusBell = new Doorbell(deps.clock);
    this.snapshots = new Snapshots(deps.clock, deps.drivers, deps.context);
    this.orders = new Orders(deps);
    this.outputs = new StepOutputs(deps.context);
    this.kept = new KeptLooks(deps, (instanceId) => this.#changed(instanceId));
    for (const each of statuses.list(deps.store)) {
      this.#statuses.set(each.status.instanceId, each);
    }
  }

  /** Begins the loop of every instance that the store knows. */
  start(): void {
    const { signal } = this.#stop;
    const ring = (instanceId: string) => this.#running.get(instanceId)?.loop.look();
    this.#looking = Promise.all([
      this.kept.run(signal),
      watchDrivers(this.#deps, this.snapshots, ring, signal),
    ]).then(() => undefined);
    for (const { instanceId } of assignments.list(this.#deps.store)) this.wake(instanceId);
    for (const instanceId of assignments.listRefused(this.#deps.store)) this.wake(instanceId);
  }

  /** Something about this instance has changed in the store. */
  wake(instanceId: string): void {
    const running = this.#running.get(instanceId) ?? this.#begin(instanceId);
    running?.loop.retryNow();
  }

  wakeAll(): void {
    for (const { loop } of this.#running.values()) loop.retryNow();
  }

  /** Approved on this host: data that nothing uses any more is destroyed, all of an instance or what has this name. */
  destroy(instanceId: string, name: string): Promise<ActionResult> {
    return this.orders.approve(instanceId, name, () => this.wake(instanceId));
  }

  /** Approved on this host: the generation that is wanted may take more out of service than the budget. */
  allowRemoval(instanceId: string): string {
    const generation = allowRemoval(this.#deps, instanceId);
    this.wake(instanceId);
    return generation;
  }

  statuses(): readonly VersionedStatus[] {
    this.#workOut();
    return [...this.#statuses.values()];
  }

  /** For a look at an instance from outside of its loop, whether it has one or not. */
  visitorOf(instanceId: string): Work {
    return {
      ...this.#deps,
      log: this.#deps.log.child({ instance: instanceId }),
      instanceId,
      snapshots: this.snapshots,
      orders: this.orders,
      kept: this.kept,
      outputs: this.outputs,
      signal: this.#stop.signal,
      doing: new Map(),
      changed: () => undefined,
      settled: () => undefined,
    };
  }

  /** Loops end at their next safe point; workloads are not touched. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#looking, ...[...this.#running.values()].map(({ ended }) => ended)]);
    this.#workOut();
  }

  /** Content that no wanted or committed release and no running attempt names may go. */
  async pruneArtefacts(): Promise<void> {
    const { store, artefacts, log } = this.#deps;
    const released = assignments
      .listReleases(store)
      .flatMap(({ payload }) => fromBinary(BlueprintSchema, payload).artefacts);
    const rendered = attempts
      .listRenderings(store)
      .flatMap((rendering) => Object.values(rendering.artefacts));
    const kept = new Set([...released, ...rendered].map(({ digest }) => digest));
    const removed = await artefacts.prune(kept);
    if (removed > 0) log.info({ removed }, "unused artefacts removed");
  }

  /** Instances that were removed and left nothing: those whose time is over, or one, since room is needed. */
  forgetRemoved(room: "due" | "one"): void {
    for (const instanceId of forgetRemoved({ ...this.#deps, kept: this.kept }, room)) {
      this.#running.get(instanceId)?.gone.abort();
      for (const map of [this.#running, this.#statuses, this.#views, this.#stored]) {
        map.delete(instanceId);
      }
    }
  }

  #begin(instanceId: string): Running | undefined {
    if (this.#stop.signal.aborted) return undefined;
    const gone = new AbortController();
    const work: Work = {
      ...this.visitorOf(instanceId),
      signal: AbortSignal.any([this.#stop.signal, gone.signal]),
      changed: () => this.#changed(instanceId),
      settled: () => this.#settled(instanceId),
    };
    const loop = new InstanceLoop(work, new Doorbell(this.#deps.clock));
    const ended = loop.run().catch((error: unknown) => {
      this.#deps.log.error({ instance: instanceId, error: causeChain(error) }, "loop ended");
    });
    const running = { loop, ended, gone };
    this.#running.set(instanceId, running);
    return running;
  }

  /** For whoever asks without a running agent. Not at every change: an attempt would pay for each write. */
  #settled(instanceId: string): void {
    this.#workOut();
    const status = this.#statuses.get(instanceId);
    if (status === undefined || this.#stored.get(instanceId) === status.version) return;
    const { store } = this.#deps;
    // Worked out again by the next life, if need be.
    store.unsynced(() => statuses.replace(store, status));
    this.#stored.set(instanceId, status.version);
  }

  /** Worked out once for all that changes in one turn: an attempt would pay for each of its writes. */
  #changed(instanceId: string): void {
    if (this.#due.size === 0) setImmediate(() => this.#workOut());
    this.#due.add(instanceId);
  }

  #workOut(): void {
    for (const instanceId of this.#due) {
      this.#due.delete(instanceId);
      try {
        this.#workOutOne(instanceId);
      } catch (error) {
        const log = this.#deps.log.child({ instance: instanceId });
        log.error({ error: causeChain(error) }, "the status could not be worked out");
      }
    }
  }

  #workOutOne(instanceId: string): void {
    const loop = this.#running.get(instanceId)?.loop;
    if (loop === undefined) return;
    const { clock } = this.#deps;
    const view = loop.view();
    if (isDeepStrictEqual(this.#views.get(instanceId), view)) return;
    this.#views.set(instanceId, view);
    const last = this.#statuses.get(instanceId);
    const status = statusOf(instanceId, view, last?.status, clock.now());
    if (last !== undefined && equals(InstanceStatusSchema, last.status, status)) return;
    const next = { version: (last?.version ?? 0) + 1, status };
    this.#statuses.set(instanceId, next);
    this.statusBell.ring();
  }
}
