/** How long to wait before trying again: full jitter, so that many callers never move in step. */
import type { Random } from "./clock.ts";

export type BackoffBounds = Readonly<{ baseMs: number; capMs: number }>;

/** Uniform in [0, min(cap, base * 2^failures)]. `failures` counts from 0. */
export function fullJitter(bounds: BackoffBounds, failures: number, random: Random): number {
  const ceiling = Math.min(bounds.capMs, bounds.baseMs * 2 ** Math.min(failures, 30));
  return Math.floor(random() * ceiling);
}
