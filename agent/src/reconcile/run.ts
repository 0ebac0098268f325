/**
 * The running attempt in memory, always equal to what the journal says: every change is written first. Holds no
 * decisions; those are in the files that use it.
 */

import { Fault } from "@holdfast/shared/fault.ts";
import { compareGenerations, formatGeneration } from "@holdfast/shared/generation.ts";
import { HAS_ACTED, type Step, type StepOrder, type StepOutcome } from "../drivers/driver.ts";
import { AttemptOutput } from "../output/attempt-output.ts";
import { ORDERED } from "../output/outputs.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord, Committed, JournalEntry, Rendering } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import * as pastAttempts from "../store/past-attempts.ts";
import { refuseUnordered } from "./destruction.ts";
import { cut, type StepEnd, withStep } from "./shown-steps.ts";
import { bounded } from "./snapshots.ts";
import { driverOf, Interrupted, outside, STEP_MS_MAX, stepContext, type Work } from "./work.ts";

/** A bug could otherwise plan for ever. */
const JOURNAL_STEPS_MAX = 900;
/** How often a wait looks whether it is still wanted. */
const WAIT_MS = 100;

type Timed<Order> = Order & Readonly<{ msMax?: number }>;

export class AttemptRun {
  readonly work: Work;
  readonly output: AttemptOutput;
  #record: AttemptRecord;
  #entries: JournalEntry[];
  /** Why its branches are to stop, if they are. */
  #halted: { cause: unknown } | undefined;

  constructor(work: Work, record: AttemptRecord, entries: readonly JournalEntry[]) {
    this.work = work;
    this.#record = record;
    this.#entries = [...entries];
    const { instanceId } = work;
    const isNew = entries.length === 0;
    const kept = keptOutputs(work).filter((id) => id !== record.id || !isNew);
    const key = { instanceId, attempt: record.id };
    this.output = new AttemptOutput(work, key, kept, isNew ? undefined : record.startedAt);
  }

  get record(): AttemptRecord {
    return this.#record;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** For people, of the moment; undefined: nothing more. */
  tell(resourceId: string, doing: string | undefined): void {
    const { work } = this;
    if (work.doing.get(resourceId) === doing) return;
    if (doing === undefined) work.doing.delete(resourceId);
    else work.doing.set(resourceId, cut(doing));
    work.changed();
  }

  /** Told with the attempt, which goes on. */
  say(message: string): void {
    if (this.#record.message !== cut(message)) this.#note({ message: cut(message) });
  }

  /** The others stop at their next safe point; the first cause is the one that is told. */
  halt(cause: unknown): void {
    this.#halted ??= { cause };
  }

  /** Between steps: throws if the agent shuts down, another branch has failed, or something newer is wanted. */
  safePoint(): void {
    if (this.work.signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
    if (this.#halted !== undefined) {
      throw new Interrupted("failed", "STOPPED", "another resource of the attempt failed");
    }
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
    this.tell(step.resourceId, step.summary);
    await this.#waitFor(step.notBefore ?? 0);
    await this.output.notice(step.kind);
    if (this.#entries.length >= JOURNAL_STEPS_MAX) {
      throw new Interrupted("failed", "STEPS_MAX", `more than ${JOURNAL_STEPS_MAX} steps`);
    }
    const position = (this.#entries.at(-1)?.position ?? -1) + 1;
    this.#append({ position, state: "BEGUN", step });
    await this.#effect(position, step);
  }

  /** Steps that a crash cut off are run again: drivers find what they did. */
  async finishBegun(): Promise<void> {
    const begun = this.#entries.filter(({ state }) => state === "BEGUN");
    for (const { step } of begun) await this.output.notice(step.kind);
    const ends = await Promise.allSettled(
      begun.map(async ({ position, step }) => {
        await this.#effect(position, step).catch((error: unknown) => {
          this.halt(error);
          throw error;
        });
      }),
    );
    const failed = ends.find(({ status }) => status === "rejected");
    if (failed !== undefined) throw this.#halted?.cause;
  }

  /** A step that is in the journal already. */
  async runPlanned(position: number, step: Step): Promise<void> {
    await this.#waitFor(step.notBefore ?? 0);
    await this.output.notice(step.kind);
    this.#append({ position, state: "BEGUN", step });
    await this.#effect(position, step);
  }

  async #effect(position: number, step: Step): Promise<void> {
    const startedAt = this.work.clock.monotonic();
    const took = () => Math.round(this.work.clock.monotonic() - startedAt);
    const cut = new AbortController();
    const over = step.mayBeCut === true ? this.#watch(cut) : () => undefined;
    try {
      this.output.begin(step);
      const { message = "", outputs } = await outside(step.id, () =>
        this.order(step, step.id, cut.signal),
      );
      const end = { message, durationMs: took(), ...(outputs !== undefined && { outputs }) };
      this.#append({ position, state: "DONE", step }, end);
    } catch (error) {
      if (this.work.signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
      if (!(error instanceof Interrupted)) throw error;
      const why = cut.signal.reason instanceof Interrupted ? cut.signal.reason : error;
      const hasActed = step.class === "irreversible" && mayHaveActed(error);
      const failed: JournalEntry = { position, state: "FAILED", step };
      this.#fail(hasActed ? { ...failed, hasActed } : failed, why, took());
      throw why;
    } finally {
      over();
    }
  }

  /** A step that takes long has its safe points in its middle; gives what ends the watch. */
  #watch(cut: AbortController): () => void {
    const done = new AbortController();
    const { clock } = this.work;
    const watch = async () => {
      while (!done.signal.aborted) {
        await clock.sleep(WAIT_MS, done.signal);
        if (!done.signal.aborted) this.safePoint();
      }
    };
    watch().catch((error: unknown) => cut.abort(error));
    return () => done.abort("over");
  }

  /** One order to its driver, with its own time limit. `stepId`: whose output is what it says. */
  async order(
    order: Timed<StepOrder> & Pick<Step, "destroys">,
    stepId: string,
    cut?: AbortSignal,
  ): Promise<StepOutcome> {
    refuseUnordered(this.work, this.#record.generation, order);
    const driver = driverOf(this.work, order.kind);
    const { resourceId, kind, verb, input } = order;
    const voice = this.output.voice(stepId);
    return await bounded(
      this.work.clock,
      order.msMax ?? STEP_MS_MAX,
      `${resourceId} ${verb}`,
      (signal) =>
        driver.run({ resourceId, kind, verb, input }, stepContext(this.work, signal, voice)),
      cut === undefined ? this.work.signal : AbortSignal.any([this.work.signal, cut]),
    ).finally(() => this.work.snapshots.spoil(kind, this.work.instanceId));
  }

  /** Failure and turn are one write: a crash in between would otherwise go on after a failed step. */
  #fail(entry: JournalEntry, error: Interrupted, durationMs: number): void {
    const first = this.#halted?.cause;
    const { reason, message } = first instanceof Interrupted ? first : error;
    if (this.#record.phase === "APPLYING") {
      this.#record = { ...this.#record, phase: "UNDOING", reason, message: cut(message) };
    }
    this.#append(entry, { message: error.message, durationMs });
  }

  /** From applying to undoing, unless a failed step has done so. */
  turn({ kind, reason, message }: Interrupted): void {
    if (this.#record.phase !== "APPLYING") return;
    const shown = kind === "later" ? `LATER:${reason}` : reason;
    this.#note({ phase: "UNDOING", reason: shown, message: cut(message) });
  }

  append(entry: JournalEntry, end: StepEnd = {}): void {
    this.#append(entry, end);
  }

  commit(committed: Committed, renderings: readonly Rendering[], after: readonly Step[]): void {
    const { journal, log } = this.work;
    this.#record = {
      ...this.#record,
      phase: "CLEANING",
      state: "COMMITTED",
      reason: "COMMITTED",
      message: "",
      endedAt: committed.committedAt,
      steps: after.reduce(
        (steps, step) => withStep(steps, step, "PLANNED", committed.committedAt),
        this.#record.steps,
      ),
    };
    this.work.doing.clear();
    journal.commit(this.#record, committed, renderings, after);
    this.#entries = after.map((step, position) => ({ position, state: "PLANNED", step }));
    log.debug({ generation: formatGeneration(committed.generation) }, "committed");
    this.work.changed();
  }

  end(
    change: Partial<Pick<AttemptRecord, "state" | "reason" | "message" | "resources" | "outputs">>,
  ): void {
    this.work.doing.clear();
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

  #append(entry: JournalEntry, end: StepEnd = {}): void {
    const { journal, clock, log } = this.work;
    const at = clock.now();
    const steps = withStep(this.#record.steps, entry.step, entry.state, at, end);
    this.#record = { ...this.#record, steps };
    journal.append(this.#record, entry, at);
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

/** Attempts that are told of, by id. */
function keptOutputs({ store, instanceId }: Work): readonly number[] {
  const last = attempts.find(store, instanceId);
  const all = [...(last === undefined ? [] : [last]), ...pastAttempts.list(store, instanceId)];
  return [ORDERED, ...all.map(({ id }) => id)];
}

/** Whoever did not answer in time may still be at it. */
function mayHaveActed({ cause, reason }: Interrupted): boolean {
  if (reason === "TIMEOUT") return true;
  return cause instanceof Fault && cause.metadata[HAS_ACTED] === "true";
}
