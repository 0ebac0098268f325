/** The number of a wish: (incarnation, number), compared in that order. Newer wins; older is refused. */
import type { Generation as GenerationMessage } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";

export type Generation = Readonly<{ incarnation: bigint; number: bigint }>;

export const NO_GENERATION: Generation = { incarnation: 0n, number: 0n };

/**
 * Largest step that one assignment may make. A taken-over hub could otherwise say a generation so large
 * that nothing newer can ever follow.
 */
export const GENERATION_JUMP_MAX = 1_000_000n;

export function compareGenerations(a: Generation, b: Generation): -1 | 0 | 1 {
  if (a.incarnation !== b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  return 0;
}

/** Whether `next` is too far ahead of `held` to be believed. */
export function isImplausibleJump(held: Generation, next: Generation): boolean {
  if (next.incarnation - held.incarnation > GENERATION_JUMP_MAX) return true;
  const from = next.incarnation === held.incarnation ? held.number : 0n;
  return next.number - from > GENERATION_JUMP_MAX;
}

export function generationOf(message: GenerationMessage | undefined): Generation {
  return message === undefined
    ? NO_GENERATION
    : { incarnation: message.incarnation, number: message.number };
}

/** For people: `incarnation.number`. */
export function formatGeneration({ incarnation, number }: Generation): string {
  return `${incarnation}.${number}`;
}
