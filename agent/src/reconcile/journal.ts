/**
 * The writes that an attempt makes. The engine may die before or after any of them; a test enumerates them all by
 * wrapping this interface.
 *
 * A write without which recovery could not be right is on the disk when it returns: that a step begins or is undone, that
 * it failed, the commit, a removal. Of the others a loss of power may take the last ones back, as if the agent had died
 * before them: what was prepared is prepared again, and a step that was done is run again and finds what it did
 * (docs/adr/0025).
 */
import { pruneSealed } from "../assignments/sealed.ts";
import type { Step } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import type { AttemptRecord, Committed, JournalEntry, Rendering } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as pastAttempts from "../store/past-attempts.ts";
import * as secrets from "../store/secrets.ts";

export interface Journal {
  /** A new attempt, a hold, or a changed note on the running one. */
  note(attempt: AttemptRecord): void;
  rendered(instanceId: string, rendering: Rendering): void;
  append(attempt: AttemptRecord, entry: JournalEntry, at: number): void;
  commit(
    attempt: AttemptRecord,
    committed: Committed,
    renderings: readonly Rendering[],
    after: readonly Step[],
  ): void;
  end(attempt: AttemptRecord): void;
  /** The tombstone of its generation was executed. */
  removed(attempt: AttemptRecord): void;
}

/** Tells of each attempt that has ended how it did, once that is written. */
export function watchedJournal(journal: Journal, ended: (state: string) => void): Journal {
  return {
    ...journal,
    end: (attempt) => {
      journal.end(attempt);
      ended(attempt.state);
    },
    removed: (attempt) => {
      journal.removed(attempt);
      ended(attempt.state);
    },
  };
}

export function storeJournal(store: Store): Journal {
  return {
    note: (attempt) => {
      const write = () => {
        pastAttempts.keepLast(store, attempt);
        attempts.put(store, attempt);
      };
      if (attempt.phase === "APPLYING") store.unsynced(write);
      else store.transaction(write);
    },
    rendered: (instanceId, rendering) =>
      store.unsynced(() => attempts.putRendering(store, instanceId, rendering)),
    append: (attempt, entry, at) => {
      const write = () => attempts.appendJournal(store, attempt, entry, at);
      if (isFoundAgain(attempt, entry)) store.unsynced(write);
      else store.transaction(write);
    },
    commit: (attempt, committed, renderings, after) =>
      attempts.commit(store, attempt, committed, renderings, after),
    end: (attempt) =>
      store.unsynced(() => {
        attempts.end(store, attempt);
        pruneSealed(store, attempt.instanceId);
      }),
    removed: (attempt) =>
      store.transaction(() => {
        const { instanceId, generation } = attempt;
        attempts.forget(store, attempt);
        pastAttempts.forget(store, instanceId);
        assignments.removeEntitlement(store, instanceId);
        secrets.keepOnly(store, instanceId, []);
        assignments.markRemoved(store, instanceId, generation);
        assignments.pruneReleases(store);
      }),
  };
}

/** Recovery does the step or its undo again; of what the commit has planned it does all that is not done. */
function isFoundAgain({ phase }: AttemptRecord, { state }: JournalEntry): boolean {
  return state === "DONE" || state === "UNDONE" || (phase === "CLEANING" && state === "BEGUN");
}
