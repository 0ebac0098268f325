/**
 * The loop of one instance: look what is wanted and what is there, do the next thing, say how it is, wait for a
 * ring. It takes no input, so lost and doubled rings do no harm; no instance waits for another.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { type Track, unrecorded } from "@holdfast/shared/flight/machine.ts";
import { deliverSeats } from "../entitlement/deliver.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import * as facts from "../store/facts.ts";
import * as pastAttempts from "../store/past-attempts.ts";
import * as pins from "../store/pins.ts";
import { resumeAttempt, runAttempt } from "./attempt.ts";
import { waitForBeat } from "./beat.ts";
import { judgeLoss } from "./budget.ts";
import type { InstanceView } from "./conditions.ts";
import {
  type Decision,
  decideMachine,
  type Hold,
  type InstanceState,
  type Situation,
} from "./decide.ts";
import { DriftKeeper } from "./drift-keeper.ts";
import { givenTo, isOutdated } from "./given.ts";
import { keptViews } from "./kept.ts";
import { resumeRestart, workOff } from "./orders.ts";
import {
  findHold,
  inputsDigestOf,
  judgeConsent,
  judgeFrozen,
  judgeStale,
  planAttempt,
} from "./plan.ts";
import {
  finalizersOf,
  newRemoval,
  planRemoval,
  removeInstance,
  USAGE_UNREPORTED,
} from "./removal.ts";
import { type RepairState, type ServingView, settle } from "./settle.ts";
import { plannedSteps } from "./shown-steps.ts";
import { stepsDigestOf } from "./steps-digest.ts";
import { findWanted, type Target } from "./target.ts";
import type { Work } from "./work.ts";

/** After a failed download, a failed look or a failed removal. */
const RETRY_BACKOFF = { baseMs: 1_000, capMs: 60_000 };

export class InstanceLoop {
  readonly #work: Work;
  readonly #bell: Doorbell;
  readonly #repair: RepairState = { failures: 0, until: 0, notBefore: 0, rendered: new Map() };
  readonly #drift: DriftKeeper;
  readonly #track: Track<InstanceState, Situation, Decision>;
  #state: InstanceState = { phase: "new" };
  #hold: Hold | undefined;
  /** The attempt under way was begun by an agent that has ended. */
  #isResumed = false;
  #serving: ServingView | undefined;
  #isOutdated = false;
  #removal = newRemoval();
  /** `at`: by the monotonic clock, since the other one may be set. */
  #retry = { failures: 0, at: 0 };
  /** From when on a look is new enough for this pass. */
  #since: number | undefined;

  constructor(work: Work, bell: Doorbell) {
    this.#work = work;
    this.#bell = bell;
    this.#drift = new DriftKeeper(work);
    this.#track = (work.recorder ?? unrecorded).track(decideMachine, work.instanceId);
  }

  /** What was held for lack of a link is tried again at once. */
  retryNow(): void {
    this.#retry = { failures: 0, at: 0 };
    this.#bell.ring();
  }

  /** Something of it was changed by others. */
  look(): void {
    this.#bell.ring();
  }

  view(): InstanceView & Readonly<{ committed: attempts.Committed | undefined }> {
    const { store, instanceId } = this.#work;
    const held = assignments.find(store, instanceId);
    const removed = held?.removed ?? false;
    const isLeaving = held?.releaseDigest === "";
    return {
      wanted: held && { generation: held.generation, tombstone: isLeaving },
      committed: attempts.findCommitted(store, instanceId),
      removed,
      attempt: attempts.find(store, instanceId),
      doing: [...this.#work.doing].map(([id, doing]) => `${id}: ${doing}`),
      isResumed: this.#isResumed,
      past: pastAttempts.list(store, instanceId),
      refusal: assignments.findRefusal(store, instanceId),
      hold: this.#hold,
      serving: removed ? undefined : this.#serving,
      drift: isLeaving ? undefined : this.#drift.view(),
      finalizers: isLeaving && !removed ? finalizersOf(this.#removal, this.#hold) : [],
      measured: this.#work.measured(instanceId),
      kept: keptViews(this.#work, instanceId),
      isOutdated: this.#isOutdated,
    };
  }

  async run(): Promise<void> {
    const { signal, clock, log } = this.#work;
    signal.addEventListener("abort", () => this.#bell.ring(), { once: true });
    while (!signal.aborted) {
      let waitMs = this.#work.intervalMs;
      try {
        waitMs = await this.#pass().finally(() => this.#tell());
      } catch (error) {
        // The store or a bug: what was begun is in the journal, the next pass goes on from there.
        log.error({ error: causeChain(error) }, "pass failed");
        await clock.sleep(fullJitter(RETRY_BACKOFF, 0, this.#work.random), signal);
      }
      if (!signal.aborted) this.#since = await waitForBeat(this.#work, this.#bell, waitMs);
    }
  }

  /** Writes, and so fails where the disk is full. */
  #tell(): void {
    this.#work.changed();
    this.#work.settled();
  }

  /** One decision and what follows from it; how long to wait then, in ms. */
  async #pass(): Promise<number> {
    const { clock, signal, intervalMs } = this.#work;
    await resumeRestart(this.#work);
    if (signal.aborted) return 0;
    const target = this.#wanted();
    const decision = this.#decide(target);
    this.#hold = decision.kind === "hold" ? decision.hold : undefined;
    if (target !== undefined) {
      if (!target.tombstone) {
        this.#removal = newRemoval();
        await this.#deliverSeats();
      }
      await this.#act(decision, target);
    }
    if (signal.aborted || (await this.#isOrderDone())) return 0;
    const nextAt = this.#serving?.nextAt ?? Number.POSITIVE_INFINITY;
    const waitMs = Math.max(0, Math.min(intervalMs, nextAt - clock.now()));
    // Looking changes nothing of what is wanted, and whatever else does rings.
    if (decision.kind === "settle") return waitMs;
    const next = this.#decide(this.#wanted());
    const isDue = next.kind === "attempt" || next.kind === "resume" || next.kind === "remove";
    if (next.kind === "settle") return 0;
    if (isDue && this.#hold === undefined && clock.monotonic() >= this.#retry.at) return 0;
    return waitMs;
  }

  /** Orders wait for the end of an attempt, and never run beside one. */
  async #isOrderDone(): Promise<boolean> {
    const attempt = this.#attempt();
    const isBusy = attempt !== undefined && attempt.phase !== "ENDED";
    if (isBusy || !(await workOff(this.#work))) return false;
    this.#retry = { failures: 0, at: 0 };
    return true;
  }

  /** With what other instances give out now: one attempt sees them as they were when it began. */
  #wanted(): Target | undefined {
    const { store, instanceId } = this.#work;
    const target = findWanted(store, instanceId);
    this.#isOutdated = false;
    if (target === undefined || (target.blueprint?.instances.length ?? 0) === 0) return target;
    const taken = givenTo(this.#work, target);
    const committed = attempts.findCommitted(store, instanceId);
    this.#isOutdated = committed !== undefined && isOutdated(taken, committed);
    return { ...target, given: taken.given };
  }

  #decide(target: Target | undefined): Decision {
    const { store, instanceId, clock, random } = this.#work;
    const held = assignments.find(store, instanceId);
    const last = attempts.find(store, instanceId);
    const committed = attempts.findCommitted(store, instanceId);
    const hold = target === undefined ? undefined : this.#holdOf(target);
    const attempt = last && attemptFactsOf(last);
    const situation: Situation = {
      wanted: held &&
        target && {
          generation: held.generation,
          tombstone: target.tombstone,
          removed: held.removed,
        },
      inputsDigest: target === undefined ? "" : inputsDigestOf(this.#work, target),
      committed: committed?.generation,
      isOutdated: this.#isOutdated,
      attempt,
      hold,
    };
    const [state, [decision]] = this.#track.step(this.#state, situation, clock.now(), random);
    this.#state = state;
    return decision ?? fail("no decision was made");
  }

  #holdOf(target: Target): Hold | undefined {
    const { store, clock, instanceId } = this.#work;
    const envelope = pins.findFreshness(store);
    const note = envelope && fromBinary(FreshnessSchema, envelope.payload);
    const acceptedAt = assignments.find(store, instanceId)?.acceptedAt ?? clock.now();
    return (
      judgeFrozen(facts.findFrozen(store)) ??
      judgeStale(note, acceptedAt, clock.now()) ??
      findHold(this.#work, target)
    );
  }

  async #act(decision: Decision, target: Target): Promise<void> {
    switch (decision.kind) {
      case "nothing":
        return;
      case "resume":
        this.#isResumed = true;
        await resumeAttempt(
          this.#work,
          target,
          this.#attempt() ?? fail("an attempt was there a moment ago"),
        );
        return;
      case "remove":
        await this.#retried(() => this.#remove(target));
        return;
      case "attempt":
        this.#isResumed = false;
        await this.#retried(() => this.#begin(target));
        break;
      case "hold":
        this.#noteHold(target, decision.hold);
        break;
      case "settle":
        break;
    }
    if (!this.#work.signal.aborted) await this.#settle();
  }

  /** Before anything starts, so that a new workload finds the file; what fails is tried at the next pass. */
  async #deliverSeats(): Promise<void> {
    await deliverSeats(this.#work).catch((error: unknown) => {
      this.#work.log.warn({ error: causeChain(error) }, "the seat list was not delivered");
    });
  }

  async #settle(): Promise<void> {
    const attempt = this.#attempt();
    const isBefore = (id: string) =>
      attempt?.resources?.some((each) => each.id === id && each.at === "BEFORE") === true;
    const mayRepair = (id: string) => attempt?.state !== "PARTIAL" || isBefore(id);
    const serving = await settle(this.#work, this.#repair, mayRepair, this.#since);
    const driftAt = await this.#drift.lookAfter(mayRepair);
    const nextAt = Math.min(serving.nextAt ?? Infinity, driftAt ?? Infinity);
    this.#serving = nextAt === Infinity ? serving : { ...serving, nextAt };
  }

  #attempt(): AttemptRecord | undefined {
    return attempts.find(this.#work.store, this.#work.instanceId);
  }

  /** Runs it unless it failed a moment ago; what fails outside of the agent is a hold with a back-off. */
  async #retried(work: () => Promise<void>): Promise<void> {
    const { clock, random, signal } = this.#work;
    if (clock.monotonic() < this.#retry.at) return;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Fault) || signal.aborted) throw error;
      this.#hold = { reason: error.reason, message: error.message };
    }
    // What waits for the hub alone is looked at as often as all else.
    const isWaiting = this.#hold?.reason === USAGE_UNREPORTED;
    if (isWaiting || (this.#hold === undefined && this.#attempt()?.state !== "HELD")) {
      this.#retry = { failures: 0, at: 0 };
      return;
    }
    const pauseMs = fullJitter(RETRY_BACKOFF, this.#retry.failures, random);
    this.#retry = { failures: this.#retry.failures + 1, at: clock.monotonic() + pauseMs };
  }

  async #begin(target: Target): Promise<void> {
    const record = this.#record(target);
    const plan = await planAttempt(this.#work, target).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== "INVALID_ARGUMENT") throw error;
      // It can never be applied: held like any failed attempt.
      const { reason, message } = error;
      const endedAt = this.#work.clock.now();
      this.#work.journal.note({
        ...record,
        phase: "ENDED",
        state: "RETURNED",
        reason,
        message,
        endedAt,
      });
      return undefined;
    });
    if (plan === undefined) return;
    const stepsDigest = stepsDigestOf(plan);
    const hold =
      (await this.#drift.hold()) ??
      judgeConsent(this.#work, target, plan) ??
      (await judgeLoss(this.#work, target, plan.steps));
    if (hold !== undefined) {
      this.#hold = hold;
      this.#noteHold(target, hold, stepsDigest);
      return;
    }
    const steps = plannedSteps(plan.steps);
    await runAttempt(this.#work, target, { ...record, steps, stepsDigest });
  }

  #record(target: Target): AttemptRecord {
    return {
      instanceId: target.instanceId,
      id: (this.#attempt()?.id ?? 0) + 1,
      generation: target.generation,
      releaseVersion: target.releaseVersion,
      inputsDigest: inputsDigestOf(this.#work, target),
      phase: "APPLYING",
      state: "RUNNING",
      reason: "",
      message: "",
      steps: [],
      stepsDigest: "",
      startedAt: this.#work.clock.now(),
      endedAt: undefined,
    };
  }

  /** Written once, so that a hold of a week is one row and one time. */
  #noteHold(target: Target, { reason, message }: Hold, stepsDigest = ""): void {
    const last = this.#attempt();
    const isSame =
      last?.state === "HELD" &&
      last.reason === reason &&
      last.message === message &&
      last.stepsDigest === stepsDigest &&
      last.inputsDigest === inputsDigestOf(this.#work, target);
    if (isSame) return;
    const record = this.#record(target);
    const endedAt = record.startedAt;
    this.#work.journal.note({
      ...record,
      stepsDigest,
      phase: "ENDED",
      state: "HELD",
      reason,
      message,
      endedAt,
    });
  }

  /** Held like any attempt where a rule of the customer says so; once begun it is only gone on with. */
  async #remove(target: Target): Promise<void> {
    const work = this.#work;
    const last = this.#attempt();
    const isOpen = last !== undefined && last.phase !== "ENDED";
    const steps = isOpen ? [] : await planRemoval(work);
    const plan = { steps, renderings: [], open: new Map() };
    const stepsDigest = stepsDigestOf(plan);
    const hold = isOpen
      ? undefined
      : (judgeConsent(work, target, plan) ?? (await judgeLoss(work, target, steps)));
    if (hold !== undefined) this.#noteHold(target, hold, stepsDigest);
    const begin = (): AttemptRecord => {
      return { ...this.#record(target), steps: plannedSteps(steps), stepsDigest };
    };
    this.#hold = hold ?? (await removeInstance(work, this.#removal, begin));
    this.#serving = undefined;
  }
}

/** Of a record that holds far more, such as the messages of its steps. */
function attemptFactsOf({ phase, state, inputsDigest, generation }: AttemptRecord) {
  return { phase, state, inputsDigest, generation };
}

function fail(message: string): never {
  throw new Fault("INTERNAL", "INTERNAL", message);
}
