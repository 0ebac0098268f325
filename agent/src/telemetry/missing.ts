/**
 * What was lost since it was last told: one note for each class, instance, resource and reason, so that a flood of
 * losses is one note that counts. A note that is on its way is no longer added to.
 */
import type { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";

export type Loss = Readonly<{
  class: TelemetryClass;
  instanceId: string;
  resource: string;
  /** UPPER_SNAKE; see telemetry.proto. */
  reason: string;
  count: number;
  bytes: number;
  firstMs: number;
  lastMs: number;
}>;

export type MissingNote = Loss & Readonly<{ id: string }>;

/** Notes that wait; beyond them losses of one instance are told of together. */
export const NOTES_MAX = 1_000;

export class MissingNotes {
  readonly #life: string;
  readonly #notes = new Map<string, MissingNote>();
  #number = 0;

  /** `life` tells the notes of this agent's life from those of others. */
  constructor(life: string) {
    this.#life = life;
  }

  get size(): number {
    return this.#notes.size;
  }

  add(loss: Loss): void {
    const fine = [loss.class, loss.instanceId, loss.reason, loss.resource].join("/");
    const isRoomy = this.#notes.has(fine) || this.#notes.size < NOTES_MAX;
    const key = isRoomy ? fine : [loss.class, loss.instanceId, loss.reason].join("/");
    const known = this.#notes.get(key);
    if (known === undefined) {
      if (this.#notes.size >= 2 * NOTES_MAX) return;
      this.#number += 1;
      const resource = isRoomy ? loss.resource : "";
      this.#notes.set(key, { ...loss, resource, id: `${this.#life}:${this.#number}` });
      return;
    }
    this.#notes.set(key, {
      ...known,
      count: known.count + loss.count,
      bytes: known.bytes + loss.bytes,
      firstMs: Math.min(known.firstMs, loss.firstMs),
      lastMs: Math.max(known.lastMs, loss.lastMs),
    });
  }

  /** The oldest ones; they are the caller's from now on. */
  take(max: number): readonly MissingNote[] {
    const taken = [...this.#notes].slice(0, max);
    for (const [key] of taken) this.#notes.delete(key);
    return taken.map(([, note]) => note);
  }
}
