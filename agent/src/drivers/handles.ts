/**
 * Names of copies: `worker-1.2-0a1b2c3d4e5f-0r1`, of resource, generation, digest, a number that no other copy in
 * sight has, and a letter with a count. The letter says whose copy it is, so that drivers that share run directories,
 * logs and /proc never take one for another's. Pure.
 */
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { Wanted } from "./driver.ts";

/** `r` and `c` with the restarts of a process and of a container, `j` and the runs of a job. */
const LETTERS = { process: "r", job: "j", container: "c" } as const;
export type CopyKind = keyof typeof LETTERS;
const KINDS = Object.keys(LETTERS) as readonly CopyKind[];

const DIGEST_CHARS = 12;
const NAME = /^(?<resource>.+)-\d+\.\d+-[0-9a-z]*-\d+(?<letter>[rjc])(?<count>\d+)$/;

/** The resource that a copy of this kind belongs to; undefined: another kind's, or no such name. */
export function resourceOf(handle: string, kind: CopyKind): string | undefined {
  const { resource, letter } = NAME.exec(handle)?.groups ?? {};
  return letter === LETTERS[kind] ? resource : undefined;
}

/** Of any kind. */
export function isOfResource(handle: string, resourceId: string): boolean {
  return NAME.exec(handle)?.groups?.["resource"] === resourceId;
}

export function countOf(handle: string): number {
  return Number(NAME.exec(handle)?.groups?.["count"] ?? 0);
}

export function kindOf(handle: string): CopyKind {
  const letter = NAME.exec(handle)?.groups?.["letter"];
  return KINDS.find((kind) => LETTERS[kind] === letter) ?? "process";
}

/** What the names of all copies of this rendering begin with. */
export function stemOf({ key, generation, digest }: Wanted): string {
  const hex = digest.slice(digest.indexOf(":") + 1, 71).toLowerCase();
  const short = hex.replaceAll(/[^0-9a-z]/g, "").slice(0, DIGEST_CHARS);
  return `${key.resourceId}-${formatGeneration(generation)}-${short}-`;
}

/** The next number that none of the names has; what was begun under one and forgotten is found by it. */
export function nextNumber(stem: string, handles: readonly string[]): number {
  const numbers = handles
    .filter((handle) => handle.startsWith(stem))
    .map((handle) => Number.parseInt(handle.slice(stem.length), 10));
  return Math.max(-1, ...numbers) + 1;
}

export function handleOf(kind: CopyKind, stem: string, number: number, count: number): string {
  return `${stem}${number}${LETTERS[kind]}${count}`;
}
