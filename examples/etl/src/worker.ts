/**
 * The worker's loop. Each turn looks at what is there (seats, rates, source, destination, lease) and does the next
 * bounded piece of work; whatever fails is told to `Health` and looked at again in a later turn.
 *
 * waiting  --destination and rates are there--> standby
 * standby  --the lease is free-->               active: one batch per seat and turn
 * active   --lease taken by another, or the destination fails--> standby or waiting, with all memory dropped
 * any      --signal-->                          the present transaction ends, the lease is released, the end
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import type { Bell } from "./bell.ts";
import { BadRow } from "./decode.ts";
import type { Health } from "./health.ts";
import {
  type Batch,
  type Destination,
  type Lease,
  NO_PROGRESS,
  type Progress,
  type ProgressBySeat,
  progressAfter,
  type Seat,
  type Source,
} from "./model.ts";
import type { Rates } from "./rates.ts";
import type { Release } from "./release.ts";

/** A stand-by asks this often, so that a clean hand-over takes well under 100 ms. */
const STANDBY_POLL_MS = 25;
const RETRY_MS = 250;
/** The seats file is read again after this time even if no signal came: a signal can be lost. */
const SEATS_READ_AGAIN_MS = 2_000;
/** The lease is renewed when this part of it has passed. */
const LEASE_RENEWAL_PART = 3;

export type WorkerDeps = Readonly<{
  release: Release;
  batchRows: number;
  pollMs: number;
  leaseMs: number;
  /** Unique to this process. */
  holder: string;
  source: Source;
  openDestination: () => Promise<Destination>;
  readSeats: () => readonly Seat[];
  /** Throws while the rates of the release are not there. */
  readRates: () => Rates;
  health: Health;
  bell: Bell;
  monotonic: () => number;
}>;

export class Worker {
  readonly #deps: WorkerDeps;
  #destination: Destination | undefined;
  #lease: Lease | undefined;
  #leaseRenewedAt = 0;
  /** What the destination holds; dropped whenever that may have changed without us. */
  #progress: Map<string, Progress> | undefined;
  #lastCounts: Readonly<{ destinationId: string; progress: ProgressBySeat }> | undefined;
  #seats: readonly Seat[] = [];
  #seatsReadAt = Number.NEGATIVE_INFINITY;
  #rates: Rates | undefined;
  #sourceSeen = false;
  #turnAt: number;
  #rowsCopied = 0;

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#turnAt = deps.monotonic();
  }

  get seats(): readonly Seat[] {
    return this.#seats;
  }

  /** Rows written by this process since its start. */
  get rowsCopied(): number {
    return this.#rowsCopied;
  }

  /** How long the present turn takes already: a loop that hangs shows here. */
  get turnMs(): number {
    return this.#deps.monotonic() - this.#turnAt;
  }

  /** Never rejects. Returns when the signal is aborted and the lease is released. */
  async run(signal: AbortSignal): Promise<void> {
    const { bell, health } = this.#deps;
    signal.addEventListener("abort", () => bell.ring(), { once: true });
    while (!signal.aborted) {
      this.#turnAt = this.#deps.monotonic();
      await bell.wait(await this.#turn(signal));
    }
    health.become("stopping", { rows: this.#rowsCopied });
    await this.#stop();
  }

  /** The seats file changed: read it in the next turn, which is now. */
  rereadSeats(): void {
    this.#seatsReadAt = Number.NEGATIVE_INFINITY;
    this.#deps.bell.ring();
  }

  /** Durable counts as the destination holds them; the last known ones while it cannot be read. */
  async counts(): Promise<
    Readonly<{ destinationId: string; progress: ProgressBySeat }> | undefined
  > {
    const destination = this.#destination;
    if (destination !== undefined) {
      try {
        const progress = await destination.progress();
        this.#lastCounts = { destinationId: destination.id, progress };
      } catch (error) {
        this.#deps.health.unwell("destination", error);
      }
    }
    return this.#lastCounts;
  }

  /** One look and one piece of work; returns how long to wait before the next. */
  async #turn(signal: AbortSignal): Promise<number> {
    this.#refreshSeats();
    await this.#seeSource();
    const rates = this.#refreshRates();
    // Without rates this copy could never work, so it must not take the lease from one that can.
    if (rates === undefined) return RETRY_MS;
    try {
      const destination = await this.#openDestination();
      const lease = await this.#holdLease(destination);
      if (lease === undefined) {
        this.#deps.health.become("standby");
        return STANDBY_POLL_MS;
      }
      return await this.#copy({ destination, lease, rates }, signal);
    } catch (error) {
      this.#deps.health.unwell("destination", error);
      await this.#dropDestination();
      return RETRY_MS;
    }
  }

  #refreshSeats(): void {
    const now = this.#deps.monotonic();
    if (now - this.#seatsReadAt < SEATS_READ_AGAIN_MS) return;
    this.#seatsReadAt = now;
    try {
      this.#seats = this.#deps.readSeats();
      this.#deps.health.well("seats");
    } catch (error) {
      this.#deps.health.unwell("seats", error);
    }
  }

  /** A stand-by does not read, yet is ready only if it could. */
  async #seeSource(): Promise<void> {
    if (this.#sourceSeen) return;
    try {
      await this.#deps.source.read("", 0, 1);
      this.#sourceIsWell();
    } catch (error) {
      this.#deps.health.unwell("source", error);
    }
  }

  #sourceIsWell(): void {
    this.#sourceSeen = true;
    this.#deps.health.well("source");
  }

  #refreshRates(): Rates | undefined {
    if (this.#rates !== undefined) return this.#rates;
    try {
      this.#rates = this.#deps.readRates();
      this.#deps.health.well("settings");
    } catch (error) {
      this.#deps.health.unwell("settings", error);
    }
    return this.#rates;
  }

  async #openDestination(): Promise<Destination> {
    if (this.#destination === undefined) {
      this.#destination = await this.#deps.openDestination();
      await this.counts();
    }
    this.#deps.health.well("destination");
    return this.#destination;
  }

  async #holdLease(destination: Destination): Promise<Lease | undefined> {
    if (this.#lease !== undefined) return this.#lease;
    const askedAt = this.#deps.monotonic();
    this.#lease = await destination.acquire(this.#deps.holder);
    if (this.#lease === undefined) return undefined;
    this.#leaseRenewedAt = askedAt;
    this.#progress = undefined;
    this.#deps.health.become("active", { fencing: this.#lease.fencing });
    return this.#lease;
  }

  /** At most one batch per seat, so that no seat waits for the backlog of another. */
  async #copy(held: Held, signal: AbortSignal): Promise<number> {
    this.#progress ??= new Map(await held.destination.progress());
    let isMore = false;
    let isRowBad = false;
    for (const seat of this.#seats.filter((each) => !each.reserved)) {
      if (signal.aborted) return 0;
      if (!(await this.#keepLease(held))) return 0;
      const read = await this.#read(seat, this.#progress.get(seat.id) ?? NO_PROGRESS, held.rates);
      if (read === "unavailable") return RETRY_MS;
      if (read === "bad_row") {
        isRowBad = true;
      } else if (read.rows.length > 0) {
        if (!(await this.#write(held, read))) return 0;
        isMore ||= read.rows.length === this.#deps.batchRows;
      }
      await yieldToEvents(); // SQLite works synchronously; probes are to be answered in between.
    }
    if (!isRowBad) this.#deps.health.well("rows");
    if (!(await this.#keepLease(held))) return 0;
    return isMore ? 0 : Math.min(this.#deps.pollMs, this.#deps.leaseMs / LEASE_RENEWAL_PART);
  }

  async #read(
    seat: Seat,
    from: Progress,
    rates: Rates,
  ): Promise<Batch | "unavailable" | "bad_row"> {
    try {
      const rows = await this.#deps.source.read(seat.name, from.lastId, this.#deps.batchRows);
      this.#sourceIsWell();
      return { seat, from, rows: rows.map((row) => this.#deps.release.transform(row, rates)) };
    } catch (error) {
      const isRow = error instanceof BadRow;
      this.#deps.health.unwell(isRow ? "rows" : "source", error);
      return isRow ? "bad_row" : "unavailable";
    }
  }

  /** False if this copy has to look again before it writes more. */
  async #write({ destination, lease }: Held, batch: Batch): Promise<boolean> {
    const startedAt = this.#deps.monotonic();
    const outcome = await destination.write(lease, batch);
    if (outcome === "written") {
      this.#leaseRenewedAt = startedAt;
      this.#rowsCopied += batch.rows.length;
      this.#progress?.set(batch.seat.id, progressAfter(batch));
      return true;
    }
    this.#progress = undefined;
    if (outcome === "lease_lost") this.#lease = undefined;
    return false;
  }

  async #keepLease({ destination, lease }: Held): Promise<boolean> {
    const now = this.#deps.monotonic();
    if (now - this.#leaseRenewedAt < this.#deps.leaseMs / LEASE_RENEWAL_PART) return true;
    const isHeld = await destination.renew(lease);
    if (isHeld) this.#leaseRenewedAt = now;
    else this.#lease = undefined;
    return isHeld;
  }

  async #dropDestination(): Promise<void> {
    const destination = this.#destination;
    this.#destination = undefined;
    this.#lease = undefined;
    this.#progress = undefined;
    this.#deps.health.become("waiting");
    await destination?.close().catch((error: unknown) => {
      this.#deps.health.unwell("destination", error);
    });
  }

  async #stop(): Promise<void> {
    try {
      if (this.#lease !== undefined) await this.#destination?.release(this.#lease);
    } catch (error) {
      // The next copy then waits until the lease expires.
      this.#deps.health.unwell("destination", error);
    }
    await this.#destination?.close().catch((error: unknown) => {
      this.#deps.health.unwell("destination", error);
    });
    await this.#deps.source.close().catch((error: unknown) => {
      this.#deps.health.unwell("source", error);
    });
  }
}

type Held = Readonly<{ destination: Destination; lease: Lease; rates: Rates }>;
