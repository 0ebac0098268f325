/**
 * What a simulated agent holds, and its driver that runs nothing: a generation is ready after a while, or fails where
 * a fault says so. Status is worded by the agent's own rules.
 */
import { statusOf } from "@holdfast/agent/src/reconcile/status.ts";
import {
  type Assignment,
  type Entitlement,
  RunState,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Fault } from "@holdfast/shared/fault.ts";
import { type Generation, NO_GENERATION } from "@holdfast/shared/generation.ts";

/** As many as a real agent holds. */
export const INSTANCES_MAX = 1_000;

export type Wish = Readonly<{
  assignment: Assignment;
  generation: Generation;
  digest: string;
  /** Undefined for a tombstone. */
  blueprint: Blueprint | undefined;
}>;

export type HeldEntitlement = Readonly<{
  entitlement: Entitlement;
  revision: Generation;
  digest: string;
}>;

type Attempt = Readonly<{ wish: Wish; startedAt: number; endedAt?: number; failed: boolean }>;
type Refused = Readonly<{ fault: Fault; at: number }>;

/** One instance. `status` is worked out anew whenever something of it changed. */
export class Instance {
  readonly id: string;
  readonly #clock: Clock;
  wish: Wish | undefined;
  entitlement: HeldEntitlement | undefined;
  committed: Wish | undefined;
  removed = false;
  measured = false;
  version = 0;
  #attempt: Attempt | undefined;
  #refused: Refused | undefined;
  #status: InstanceStatus | undefined;

  constructor(id: string, clock: Clock) {
    this.id = id;
    this.#clock = clock;
  }

  get status(): InstanceStatus | undefined {
    return this.#status;
  }

  get isRunning(): boolean {
    return this.committed?.assignment.runState === RunState.RUNNING && !this.removed;
  }

  begin(wish: Wish): void {
    this.wish = wish;
    this.removed = false;
    this.#refused = undefined;
    this.#attempt = { wish, startedAt: this.#clock.now(), failed: false };
    this.changed();
  }

  /** The attempt at this wish has ended, unless a newer one took its place. */
  end(wish: Wish, failed: boolean): void {
    if (this.wish !== wish || this.#attempt === undefined) return;
    this.#attempt = { ...this.#attempt, endedAt: this.#clock.now(), failed };
    if (!failed) {
      this.removed = wish.assignment.tombstone !== undefined;
      this.committed = this.removed ? undefined : wish;
    }
    this.changed();
  }

  refuse(fault: Fault): void {
    this.#refused = { fault, at: this.#clock.now() };
    this.changed();
  }

  changed(): void {
    this.version += 1;
    this.#status = this.#worded();
  }

  #worded(): InstanceStatus {
    const { wish, committed, removed } = this;
    const isRunning = this.isRunning;
    const releaseVersion = committed?.assignment.releaseVersion ?? "";
    const resources = (committed?.blueprint?.resources ?? []).map(({ id, kind }) => {
      const phase = isRunning ? "ready" : "stopped";
      return { id, kind, phase, message: "", restarts: 0, alive: isRunning } as const;
    });
    const view = {
      wanted: wish && {
        generation: wish.generation,
        tombstone: wish.assignment.tombstone !== undefined,
      },
      committed: committed && { generation: committed.generation, releaseVersion, isRunning },
      removed,
      attempt: this.#attemptRecord(),
      past: [],
      doing: [],
      isResumed: false,
      refusal: this.#refusal(),
      hold: undefined,
      serving: { resources, outputs: {}, strays: [], repairs: [], trouble: "", nextAt: undefined },
      drift: undefined,
      measured: this.measured ? { trouble: undefined } : undefined,
      finalizers: [],
      kept: [],
      isOutdated: false,
    };
    return statusOf(this.id, view, this.#status, this.#clock.now());
  }

  #attemptRecord() {
    if (this.#attempt === undefined) return undefined;
    const { wish, startedAt, endedAt, failed } = this.#attempt;
    const isOver = endedAt !== undefined;
    return {
      instanceId: this.id,
      id: this.version,
      generation: wish.generation,
      releaseVersion: wish.assignment.releaseVersion,
      inputsDigest: wish.digest,
      phase: isOver ? "ENDED" : "APPLYING",
      state: !isOver ? "RUNNING" : failed ? "RETURNED" : "COMMITTED",
      reason: failed ? "SIMULATED" : "",
      message: failed ? "the simulated driver was told to fail" : "",
      stepsDigest: "",
      steps: [],
      startedAt,
      endedAt,
    } as const;
  }

  #refusal() {
    if (this.#refused === undefined) return undefined;
    const { fault, at } = this.#refused;
    const { reason, message } = fault;
    return {
      instanceId: this.id,
      generation: NO_GENERATION,
      releaseVersion: "",
      reason,
      message,
      at,
    };
  }
}
