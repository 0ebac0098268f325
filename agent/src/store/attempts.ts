/**
 * Attempts and their journal. Every function here is one transaction: the engine may be killed before or after any of
 * them and finds its way from what is written. Which of them the disk must have at once, journal.ts says.
 * Phases: APPLYING (steps run) to UNDOING or CLEANING (committed, old copies go); all end in ENDED.
 */
import type { Step } from "../drivers/driver.ts";
import { moreOf, moreText, recordOf, recordText, stepsOf } from "./attempt-json.ts";
import type {
  AttemptRecord,
  AttemptStateName,
  Committed,
  JournalEntry,
  JournalState,
  Phase,
  Rendering,
  Restart,
} from "./attempt-types.ts";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

export type * from "./attempt-types.ts";

type AttemptRow = Readonly<{
  instance_id: string;
  id: bigint;
  incarnation: bigint;
  number: bigint;
  release_version: string;
  inputs_digest: string;
  phase: Phase;
  state: AttemptStateName;
  reason: string;
  message: string;
  steps: string;
  started_at: bigint;
  ended_at: bigint | null;
  more: string;
}>;

export function find(store: Store, instanceId: string): AttemptRecord | undefined {
  return store.kept(instanceId, "attempt", () => readAttempt(store, instanceId));
}

function readAttempt(store: Store, instanceId: string): AttemptRecord | undefined {
  const row = store.get<AttemptRow>("select * from attempt where instance_id = ?", instanceId);
  if (row === undefined) return undefined;
  return {
    instanceId,
    id: Number(row.id),
    generation: { incarnation: row.incarnation, number: row.number },
    releaseVersion: row.release_version,
    inputsDigest: row.inputs_digest,
    phase: row.phase,
    state: row.state,
    reason: row.reason,
    message: row.message,
    steps: stepsOf(row.steps),
    ...moreOf(row.more),
    startedAt: Number(row.started_at),
    endedAt: row.ended_at === null ? undefined : Number(row.ended_at),
  };
}

/** Takes the place of the attempt before it, which must have ended. A restart takes that of the last restart. */
export function put(store: Store, attempt: AttemptRecord): void {
  if (attempt.restart !== undefined) {
    putRestart(store, attempt, attempt.restart);
    return;
  }
  store.run(
    `insert into attempt values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     on conflict (instance_id) do update set id = excluded.id, incarnation = excluded.incarnation,
       number = excluded.number, release_version = excluded.release_version,
       inputs_digest = excluded.inputs_digest, phase = excluded.phase, state = excluded.state,
       reason = excluded.reason, message = excluded.message, steps = excluded.steps,
       started_at = excluded.started_at, ended_at = excluded.ended_at, more = excluded.more`,
    attempt.instanceId,
    attempt.id,
    attempt.generation.incarnation,
    attempt.generation.number,
    attempt.releaseVersion,
    attempt.inputsDigest,
    attempt.phase,
    attempt.state,
    attempt.reason,
    attempt.message,
    JSON.stringify(attempt.steps),
    attempt.startedAt,
    attempt.endedAt ?? null,
    moreText(attempt),
  );
}

function putRestart(store: Store, attempt: AttemptRecord, { actionId }: Restart): void {
  store.run(
    "insert or replace into restart (instance_id, action_id, body) values (?, ?, ?)",
    attempt.instanceId,
    actionId,
    recordText(attempt),
  );
}

/** The newest restart of the instance, ended or not. */
export function findRestart(store: Store, instanceId: string): RestartRecord | undefined {
  return store.kept(instanceId, "restart", () => readRestart(store, instanceId));
}

type RestartRecord = AttemptRecord & Readonly<{ restart: Restart }>;

function readRestart(store: Store, instanceId: string): RestartRecord | undefined {
  const row = store.get<{ body: string }>(
    "select body from restart where instance_id = ?",
    instanceId,
  );
  return row && (recordOf(row.body) as RestartRecord);
}

/** Appends a state of a step and shows it in the attempt. */
export function appendJournal(
  store: Store,
  attempt: AttemptRecord,
  entry: JournalEntry,
  at: number,
): void {
  store.transaction(() => {
    const changes = store.get<{ n: bigint }>(
      "select count(*) as n from journal where instance_id = ? and position = ?",
      attempt.instanceId,
      entry.position,
    );
    store.run(
      `insert into journal (instance_id, position, change, state, step, at)
       values (?, ?, ?, ?, ?, ?)`,
      attempt.instanceId,
      entry.position,
      changes?.n ?? 0n,
      entry.state,
      JSON.stringify({ ...entry.step, ...(entry.hasActed === true && { hasActed: true }) }),
      at,
    );
    put(store, attempt);
  });
}

/** The running attempt's steps in their newest states, by position. */
export function listJournal(store: Store, instanceId: string): readonly JournalEntry[] {
  return store
    .all<{ position: bigint; state: JournalState; step: string }>(
      // With max() the other columns are those of the row that has it (sqlite.org/lang_select.html 2.5).
      `select position, state, step, max(change) from journal where instance_id = ?
        group by position order by position limit ?`,
      instanceId,
      LIST_ROWS_MAX,
    )
    .map(({ position, state, step: text }) => {
      const { hasActed, ...step } = JSON.parse(text) as Step & { hasActed?: true };
      return { position: Number(position), state, step, ...(hasActed && { hasActed }) };
    });
}

/** Entries of all attempts under way. */
export function countJournal(store: Store): number {
  return Number(store.get<{ n: bigint }>("select count(*) as n from journal")?.n ?? 0n);
}

/**
 * Makes the new generation the committed one; what is left to do is `after`. `renderings` are its own, also of what did
 * not change: until now those told of the generation before.
 */
export function commit(
  store: Store,
  attempt: AttemptRecord,
  committed: Committed,
  renderings: readonly Rendering[],
  after: readonly Step[],
): void {
  store.transaction(() => {
    store.run("delete from journal where instance_id = ?", attempt.instanceId);
    put(store, attempt);
    replaceCommitted(store, committed);
    for (const rendering of renderings) putRendering(store, committed.instanceId, rendering);
    for (const [position, step] of after.entries()) {
      appendJournal(store, attempt, { position, state: "PLANNED", step }, committed.committedAt);
    }
  });
}

/** Ends an attempt: its journal is empty, and only the committed renderings are kept. */
export function end(store: Store, attempt: AttemptRecord): void {
  store.transaction(() => {
    put(store, attempt);
    store.run("delete from journal where instance_id = ?", attempt.instanceId);
    pruneRenderings(store, attempt.instanceId);
  });
}

export function findCommitted(store: Store, instanceId: string): Committed | undefined {
  return store.kept(instanceId, "committed", () => readCommitted(store, instanceId));
}

function readCommitted(store: Store, instanceId: string): Committed | undefined {
  const row = store.get<{
    incarnation: bigint;
    number: bigint;
    assignment_digest: string;
    release_digest: string;
    release_version: string;
    assignment: Uint8Array;
    body: string;
    committed_at: bigint;
  }>("select * from committed where instance_id = ?", instanceId);
  if (row === undefined) return undefined;
  const body = JSON.parse(row.body) as Pick<Committed, "isRunning" | "resources"> &
    Partial<Pick<Committed, "given">>;
  return {
    instanceId,
    generation: { incarnation: row.incarnation, number: row.number },
    assignmentDigest: row.assignment_digest,
    releaseDigest: row.release_digest,
    releaseVersion: row.release_version,
    assignment: row.assignment,
    isRunning: body.isRunning,
    given: body.given ?? {},
    resources: body.resources,
    committedAt: Number(row.committed_at),
  };
}

export function replaceCommitted(store: Store, committed: Committed): void {
  const { isRunning, given, resources } = committed;
  store.run(
    "insert or replace into committed values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    committed.instanceId,
    committed.generation.incarnation,
    committed.generation.number,
    committed.assignmentDigest,
    committed.releaseDigest,
    committed.releaseVersion,
    committed.assignment,
    JSON.stringify({ isRunning, given, resources }),
    committed.committedAt,
  );
}

export function putRendering(store: Store, instanceId: string, rendering: Rendering): void {
  const { incarnation, number } = rendering.generation;
  const generation = { incarnation: String(incarnation), number: String(number) };
  store.run(
    "insert or replace into rendering (instance_id, digest, body) values (?, ?, ?)",
    instanceId,
    rendering.digest,
    JSON.stringify({ ...rendering, generation }),
  );
}

export function findRendering(
  store: Store,
  instanceId: string,
  digest: string,
): Rendering | undefined {
  return store.kept(instanceId, `rendering ${digest}`, () => {
    const row = store.get<{ body: string }>(
      "select body from rendering where instance_id = ? and digest = ?",
      instanceId,
      digest,
    );
    return row === undefined ? undefined : renderingOf(row.body);
  });
}

/** All that are kept, of every instance: for what may be thrown out of the artefact cache. */
export function listRenderings(store: Store): readonly Rendering[] {
  return store
    .all<{ body: string }>("select body from rendering limit ?", LIST_ROWS_MAX * 10)
    .map(({ body }) => renderingOf(body));
}

function renderingOf(body: string): Rendering {
  const parsed = JSON.parse(body) as Omit<Rendering, "sealed" | "secretTexts"> & {
    generation: { incarnation: string; number: string };
    // Renderings of 0.1 know none.
    sealed?: Rendering["sealed"];
    secretTexts?: Rendering["secretTexts"];
  };
  const { incarnation, number } = parsed.generation;
  return {
    ...parsed,
    sealed: parsed.sealed ?? {},
    secretTexts: parsed.secretTexts ?? [],
    generation: { incarnation: BigInt(incarnation), number: BigInt(number) },
  };
}

export function pruneRenderings(store: Store, instanceId: string): void {
  const kept = findCommitted(store, instanceId)?.resources.map(({ digest }) => digest) ?? [];
  store.run(
    `delete from rendering where instance_id = ?
        and digest not in (select value from json_each(?))`,
    instanceId,
    JSON.stringify(kept),
  );
}

/** After a tombstone: nothing of the instance is known any more but how it was removed. */
export function forget(store: Store, removal: AttemptRecord): void {
  const { instanceId } = removal;
  store.transaction(() => {
    put(store, removal);
    store.run("delete from journal where instance_id = ?", instanceId);
    store.run("delete from committed where instance_id = ?", instanceId);
    store.run("delete from rendering where instance_id = ?", instanceId);
    store.run("delete from restart where instance_id = ?", instanceId);
    store.run("delete from drift_adoption where instance_id = ?", instanceId);
  });
}
