/** Choices from a seed, for inputs that can be made again. */
import { env } from "node:process";
import type { Random } from "@holdfast/shared/clock.ts";

export { seeded } from "../../../sim/src/chance.ts";

export const SEED = Number(env["HOLDFAST_TEST_SEED"] ?? 1);
/** Of each kind; the nightly asks for more. */
export const INPUTS = Number(env["HOLDFAST_FUZZ_INPUTS"] ?? 100);

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

/** From 0 to below `end`. */
export function below(random: Random, end: number): number {
  return Math.floor(random() * end);
}

export function randomBytes(random: Random, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => below(random, 256));
}
