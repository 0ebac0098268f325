/**
 * The running attempt in memory, always equal to what the journal says: every change is written first. Holds no
 * decisions; those are in the files that use it.
 */

import { compareGenerations, formatGeneration } from "@holdfast/shared/generation.ts";
import type { Step, StepOrder } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import type {
  AttemptRecord,
  Committed,
  JournalEntry,
  JournalState,
  ShownStep,
  StepStateName,
} from "../store/attempts.ts";
import { bounded } from "./snapshots.ts";
import { driverOf, Interrupted, outside, STEP_MS_MAX, stepContext, type Work } from "./work.ts";

/** A bug could otherwise plan for ever. */
const JOURNAL_STEPS_MAX = 900;
/** How often a wait looks whether it is still wanted. */
const WAIT_MS = 100;
const MESSAGE_CHARS_MAX = 1_000;

type Timed<Order> = Order & Readonly<{ msMax?: number }>;

export class AttemptRun {
  readonly work: Work;
  #record: AttemptRecord;
  #entries: JournalEntry[];

  constructor(work: Work, record: AttemptRecord, entries: readonly JournalEntry[]) {
    this.work = work;
    this.#record = record;
    this.#entries = [...entries];
  }

  get record(): AttemptRecord {
    return this.#record;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** Between steps: throws if the agent shuts down or something newer is wanted. */
  safePoint(): void {
    if (this.work.signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
    if (!this.#isSuperseded()) return;
    throw new Interrupted("superseded", "SUPERSEDED", "a newer assignment was accepted");
  }

  /** A restart may serve an older generation than the held one, whose attempt has failed. */
  #isSuperseded(): boolean {
    const held = assignments.find(this.work.store, this.work.instanceId);
    if (held === undefined) return false;
    const { restart, generation } = this.#record;
    if (restart !== undefined) return held.digest !== restart.wishDigest;
    return compareGenerations(held.generation, generation) > 0;
  }

  /** Journals the step, runs it, journals that it is done. Throws Interrupted. */
  async run(step: Step): Promise<void> {
    await this.#waitFor(step.notBefore ?? 0);
    if (this.#entries.length >= JOURNAL_STEPS_MAX) {
      throw new Interrupted("failed", "STEPS_MAX", `more than ${JOURNAL_STEPS_MAX} steps`);
    }
    const position = (this.#entries.at(-1)?.position ?? -1) + 1;
    this.#append({ position, state: "BEGUN", step });
    await this.#effect(position, step);
  }

  /** A step that a crash cut off is run again: drivers find what it did. */
  async finishBegun(): Promise<void> {
    const begun = this.#entries.findLast(({ state }) => state === "BEGUN");
    if (begun !== undefined) await this.#effect(begun.position, begun.step);
  }

  /** A step that is in the journal already. */
  async runPlanned(position: number, step: Step): Promise<void> {
    await this.#waitFor(step.notBefore ?? 0);
    this.#append({ position, state: "BEGUN", step });
    await this.#effect(position, step);
  }

  async #effect(position: number, step: Step): Promise<void> {
    const startedAt = this.work.clock.monotonic();
    const took = () => Math.round(this.work.clock.monotonic() - startedAt);
    try {
      const message = await outside(step.id, () => this.order(step));
      this.#append({ position, state: "DONE", step }, message, took());
    } catch (error) {
      if (this.work.signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
      if (!(error instanceof Interrupted)) throw error;
      this.#fail({ position, state: "FAILED", step }, error, took());
      throw error;
    }
  }

  /** One order to its driver, with its own time limit; the outcome's message. */
  async order(order: Timed<StepOrder>): Promise<string> {
    const driver = driverOf(this.work, order.kind);
    const { resourceId, kind, verb, input } = order;
    const outcome = await bounded(
      this.work.clock,
      order.msMax ?? STEP_MS_MAX,
      `${resourceId} ${verb}`,
      (signal) => driver.run({ resourceId, kind, verb, input }, stepContext(this.work, signal)),
      this.work.signal,
    ).finally(() => this.work.snapshots.spoil(kind));
    return outcome.message ?? "";
  }

  /** Failure and turn are one write: a crash in between would otherwise go on after a failed step. */
  #fail(entry: JournalEntry, error: Interrupted, durationMs: number): void {
    if (this.#record.phase !== "APPLYING") {
      this.#append(entry, error.message, durationMs);
      return;
    }
    const { reason, message } = error;
    this.#record = { ...this.#record, phase: "UNDOING", reason, message: cut(message) };
    this.#append(entry, message, durationMs);
  }

  /** From applying to undoing, unless a failed step has done so. */
  turn({ kind, reason, message }: Interrupted): void {
    if (this.#record.phase !== "APPLYING") return;
    const shown = kind === "later" ? `LATER:${reason}` : reason;
    this.#note({ phase: "UNDOING", reason: shown, message: cut(message) });
  }

  append(entry: JournalEntry, message = "", durationMs = 0): void {
    this.#append(entry, message, durationMs);
  }

  commit(committed: Committed, after: readonly Step[]): void {
    const { journal, log } = this.work;
    this.#record = {
      ...this.#record,
      phase: "CLEANING",
      state: "COMMITTED",
      reason: "COMMITTED",
      message: "",
      endedAt: committed.committedAt,
      steps: after.reduce(
        (steps, step) => withStep(steps, step, "PLANNED", "", 0),
        this.#record.steps,
      ),
    };
    journal.commit(this.#record, committed, after);
    this.#entries = after.map((step, position) => ({ position, state: "PLANNED", step }));
    log.debug({ generation: formatGeneration(committed.generation) }, "committed");
    this.work.changed();
  }

  end(change: Partial<Pick<AttemptRecord, "state" | "reason" | "message">>): void {
    const endedAt = this.#record.endedAt ?? this.work.clock.now();
    this.#record = { ...this.#record, ...change, phase: "ENDED", endedAt };
    this.work.journal.end(this.#record);
    this.#entries = [];
    this.work.changed();
  }

  #note(change: Partial<AttemptRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.work.journal.note(this.#record);
    this.work.changed();
  }

  #append(entry: JournalEntry, message = "", durationMs = 0): void {
    const { journal, clock, log } = this.work;
    const state = SHOWN_STATE[entry.state];
    const steps = withStep(this.#record.steps, entry.step, state, cut(message), durationMs);
    this.#record = { ...this.#record, steps };
    journal.append(this.#record, entry, clock.now());
    const others = this.#entries.filter(({ position }) => position !== entry.position);
    this.#entries = [...others, entry].sort((a, b) => a.position - b.position);
    log.debug({ step: entry.step.id, state: entry.state }, "step");
    this.work.changed();
  }

  async #waitFor(notBefore: number): Promise<void> {
    const { clock, signal } = this.work;
    for (;;) {
      this.safePoint();
      const left = notBefore - clock.now();
      if (left <= 0) return;
      await clock.sleep(Math.min(left, WAIT_MS), signal);
    }
  }
}

const SHOWN_STATE: Readonly<Record<JournalState, StepStateName>> = {
  PLANNED: "PLANNED",
  BEGUN: "BEGUN",
  DONE: "DONE",
  FAILED: "FAILED",
  UNDOING: "BEGUN",
  UNDONE: "UNDONE",
};

function withStep(
  steps: readonly ShownStep[],
  { id, summary }: Step,
  state: StepStateName,
  message: string,
  durationMs: number,
): readonly ShownStep[] {
  const known = steps.find((step) => step.id === id);
  const shown: ShownStep = {
    id,
    summary,
    state,
    message: message === "" ? (known?.message ?? "") : message,
    durationMs: durationMs === 0 ? (known?.durationMs ?? 0) : durationMs,
  };
  if (known === undefined) return [...steps, shown];
  return steps.map((step) => (step === known ? shown : step));
}

function cut(message: string): string {
  return message.length > MESSAGE_CHARS_MAX ? `${message.slice(0, MESSAGE_CHARS_MAX)}…` : message;
}
