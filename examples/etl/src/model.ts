/**
 * The words of the worker: what it reads, what it writes, who it works for, and the two ports behind which a
 * SQLite file or a PostgreSQL stands. No I/O here.
 */

/** A row as the source has it. `id` only grows; `account` is the name of the seat that it belongs to. */
export type SourceRow = Readonly<{
  id: number;
  account: string;
  amountCents: number;
  currency: string;
  note: string;
  createdAt: string;
}>;

/** A row as the destination has it; `release` says whose rules made it. */
export type CopiedRow = Readonly<{
  sourceId: number;
  account: string;
  amountCents: number;
  currency: string;
  note: string;
  createdAt: string;
  /** Since 1.1; null where the currency has no rate, and in rows of 1.0. */
  amountEurCents: number | null;
  release: string;
}>;

/** A tenant's share of this instance, from the seats file. A reserved seat has no account and no rows. */
export type Seat = Readonly<{ id: string; name: string; reserved: boolean }>;

/** What the destination durably holds of one seat: the last source id copied and how many rows there are. */
export type Progress = Readonly<{ lastId: number; rowCount: number }>;
export type ProgressBySeat = ReadonlyMap<string, Progress>;

/** The right to write, as long as no other holder took a higher fencing number. */
export type Lease = Readonly<{ holder: string; fencing: number }>;

/** Rows of one seat that follow `from.lastId` without a gap among that account's rows. */
export type Batch = Readonly<{
  seat: Seat;
  from: Progress;
  rows: readonly CopiedRow[];
}>;

/**
 * `lease_lost`: another copy writes now. `moved`: the seat's checkpoint is not where the batch starts, so what
 * was remembered is out of date. Nothing is written in either case.
 */
export type WriteOutcome = "written" | "lease_lost" | "moved";

/** Where rows come from. Every call is bounded in time and in rows, and throws when the source is not there. */
export interface Source {
  /** Rows of one account with an id above `afterId`, in order of id, `limit` at most. */
  read(account: string, afterId: number, limit: number): Promise<readonly SourceRow[]>;
  close(): Promise<void>;
}

/** Where rows go. Every call is bounded in time and throws when the destination is not there. */
export interface Destination {
  /** Made at random when the destination was first created; names the source of its counters. */
  readonly id: string;
  /** The lease if it is free, expired, or already this holder's; otherwise undefined. */
  acquire(holder: string): Promise<Lease | undefined>;
  /** False if another holder took it. */
  renew(lease: Lease): Promise<boolean>;
  /** Frees the lease for the next holder at once. No effect if another holder took it. */
  release(lease: Lease): Promise<void>;
  progress(): Promise<ProgressBySeat>;
  /** Rows, checkpoint, count and lease in one transaction. */
  write(lease: Lease, batch: Batch): Promise<WriteOutcome>;
  close(): Promise<void>;
}

/** Progress of a seat of which the destination holds nothing yet. */
export const NO_PROGRESS: Progress = { lastId: 0, rowCount: 0 };

/** Progress after `batch` was written. */
export function progressAfter(batch: Batch): Progress {
  const last = batch.rows.at(-1);
  if (last === undefined) return batch.from;
  return { lastId: last.sourceId, rowCount: batch.from.rowCount + batch.rows.length };
}

/** Whether a location names a PostgreSQL rather than a SQLite file. */
export function isPostgres(location: string): boolean {
  return /^postgres(ql)?:\/\//.test(location);
}
