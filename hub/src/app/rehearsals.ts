/**
 * Rehearsals that are under way in this process: sent through whatever holds the agent's link, answered or given up
 * in time. Kept in memory alone, since nothing comes of them.
 */

import type { Rehearsal } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { CellRef } from "./cell-bells.ts";

/** From the question to the answer; an agent gives up a little sooner. */
export const REHEARSE_MS_MAX = 25_000;
/** Of all vendors. */
export const REHEARSALS_MAX = 100;

export type Question = Readonly<{
  id: string;
  cell: CellRef;
  /** The agent may fetch this release as long as the question is open. */
  releaseDigest: string;
  candidate: Envelope;
}>;

/** False if the cell's agent is not connected here. */
export type Send = (cell: CellRef, id: string, candidate: Envelope) => boolean;

type Open = Readonly<{ question: Question; answer(rehearsal: Rehearsal): void }>;

export class Rehearsals {
  readonly #clock: Clock;
  readonly #open = new Map<string, Open>();
  #send: Send = () => false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whoever holds the links. Returns how to let go. */
  attach(send: Send): () => void {
    this.#send = send;
    return () => {
      this.#send = () => false;
    };
  }

  /**
   * Undefined if the cell's agent is not connected here. Throws DEADLINE_EXCEEDED `REHEARSAL_LATE`, CANCELLED, and
   * RESOURCE_EXHAUSTED `REHEARSALS_TOO_MANY`.
   */
  async ask(question: Question, signal: AbortSignal): Promise<Rehearsal | undefined> {
    if (this.#open.size >= REHEARSALS_MAX) {
      const message = `${REHEARSALS_MAX} rehearsals are under way; try again in a moment`;
      throw new Fault("RESOURCE_EXHAUSTED", "REHEARSALS_TOO_MANY", message);
    }
    const { id, cell, candidate } = question;
    const done = new AbortController();
    const over = AbortSignal.any([done.signal, signal]);
    try {
      const answered = new Promise<Rehearsal>((answer) => {
        this.#open.set(id, { question, answer });
      });
      if (!this.#send(cell, id, candidate)) return undefined;
      const late = this.#clock.sleep(REHEARSE_MS_MAX, over).then(() => undefined);
      const answer = await Promise.race([answered, late]);
      if (answer !== undefined) return answer;
      if (signal.aborted) throw new Fault("CANCELLED", "CANCELLED", "the caller has gone");
      const message = `the agent did not answer within ${REHEARSE_MS_MAX} ms`;
      throw new Fault("DEADLINE_EXCEEDED", "REHEARSAL_LATE", message);
    } finally {
      done.abort();
      this.#open.delete(id);
    }
  }

  /** False if this cell was not asked. */
  answered({ vendorId, cellId }: CellRef, rehearsal: Rehearsal): boolean {
    const open = this.#open.get(rehearsal.id);
    const cell = open?.question.cell;
    if (open === undefined || cell?.vendorId !== vendorId || cell.cellId !== cellId) return false;
    open.answer(rehearsal);
    return true;
  }

  /** Whether an open question to this cell is about the release. */
  isAbout({ vendorId, cellId }: CellRef, releaseDigest: string): boolean {
    return [...this.#open.values()].some(
      ({ question: { cell, releaseDigest: asked } }) =>
        asked === releaseDigest && cell.vendorId === vendorId && cell.cellId === cellId,
    );
  }
}
