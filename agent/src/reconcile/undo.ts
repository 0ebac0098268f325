/**
 * The way back: every step that was begun is undone in reverse, so that the previous generation serves as
 * before. After an irreversible step there is no way back, and the attempt ends as PARTIAL.
 */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { JournalEntry } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { AttemptRun } from "./run.ts";
import { truthOf, truthText } from "./truth.ts";
import { Interrupted, outside } from "./work.ts";

const UNDO_TRIES_MAX = 3;
const UNDO_BACKOFF = { baseMs: 200, capMs: 5_000 };

/** Ends the attempt, or returns at once when the agent shuts down: the next start goes on. */
export async function undo(run: AttemptRun): Promise<void> {
  // The last words of what is undone, while its secrets are known.
  await run.output.look();
  const touched = run.entries.filter(({ state }) => state !== "PLANNED" && state !== "UNDONE");
  const fixed = touched.find(
    ({ step, state, hasActed = false }) =>
      step.class === "irreversible" && (state !== "FAILED" || hasActed),
  );
  const failures: string[] = [];
  if (fixed === undefined) {
    for (const entry of touched.toReversed()) {
      const failure = await undoOne(run, entry);
      if (run.work.signal.aborted) return;
      if (failure !== undefined) failures.push(failure);
    }
  }
  const { reason, message } = run.record;
  const notes = failures.map((failure) => `; not undone: ${failure}`).join("");
  if (fixed !== undefined) {
    const committed = attempts.findCommitted(run.work.store, run.work.instanceId);
    const resources = truthOf({ ...run.record, committed });
    run.end({
      state: "PARTIAL",
      message: `${message}; after ${fixed.step.id} there is no way back: ${truthText(resources)}`,
      resources,
    });
  } else if (reason === "SUPERSEDED") {
    run.end({ state: "SUPERSEDED", message: message + notes });
  } else if (reason.startsWith("LATER:")) {
    run.end({ state: "HELD", reason: reason.slice("LATER:".length), message: message + notes });
  } else {
    run.end({ state: "RETURNED", message: message + notes });
  }
}

/** What could not be undone, if anything: the copy is then seen as a leftover, which is stopped later. */
async function undoOne(run: AttemptRun, entry: JournalEntry): Promise<string | undefined> {
  const { position, step } = entry;
  const order = step.undo;
  if (order === undefined) {
    run.append({ position, state: "UNDONE", step });
    return undefined;
  }
  run.append({ position, state: "UNDOING", step });
  const { clock, random, signal } = run.work;
  for (let failures = 0; ; failures++) {
    try {
      await outside(`undo ${step.id}`, () => run.order(order, step.id));
      run.append({ position, state: "UNDONE", step });
      return undefined;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (signal.aborted) return undefined;
      if (failures + 1 < UNDO_TRIES_MAX) {
        await clock.sleep(fullJitter(UNDO_BACKOFF, failures, random), signal);
        continue;
      }
      run.append({ position, state: "FAILED", step }, { message: error.message });
      return error.message;
    }
  }
}
