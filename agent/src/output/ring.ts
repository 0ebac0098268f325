/**
 * What the steps of one attempt said, on disk and bounded: each step has two parts, of which the older one goes when the
 * newer one is full, and an attempt that says too much loses the oldest part of its chattiest step. Lines are numbered
 * through the attempt, and each part says how many of its step came before it, so that what is missing is counted.
 */
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { sha256 } from "@holdfast/shared/digest.ts";

export type RingBounds = Readonly<{
  /** A part is full from here on; a step has at most two, and one batch more. */
  partBytes: number;
  /** Of all steps. */
  attemptBytesMax: number;
}>;
export const RING_BOUNDS: RingBounds = {
  partBytes: 65_536,
  attemptBytesMax: 4_194_304,
};
const PARTS_MAX = 2;
const NAME_CHARS = 16;
const PART_NAME = /^[0-9a-f]{16}\.([1-9]\d{0,8})$/;

export type NewLine = Readonly<{
  /** Wall clock, ms. */
  at: number;
  /** The copy that printed it; empty: the driver says it. */
  copy: string;
  text: string;
  cutBytes: number;
  /** Where in a log it ended, for whoever goes on there. */
  place?: LinePlace;
}>;
export type LinePlace = readonly [identity: string, segment: number, offset: number];
export type RingLine = NewLine & Readonly<{ step: string; number: number }>;

/** Of one reader: how many lines of each step it has been told, or told that they are lost. */
export type Told = Map<string, number>;
export type RingQuery = Readonly<{
  after: number;
  isWanted(step: string): boolean;
  linesMax: number;
  told: Told;
}>;
export type RingPage = Readonly<{ lines: readonly RingLine[]; lost: number; more: boolean }>;

type Part = {
  readonly path: string;
  readonly number: number;
  /** Lines of the step that came before this part. */
  readonly before: number;
  lines: number;
  bytes: number;
  /** Numbers of its first and last line; 0 while it has none. */
  first: number;
  last: number;
};
type StepParts = { readonly step: string; parts: Part[]; unwritten: number; isTorn: boolean };

export class OutputRing {
  readonly #folder: string;
  readonly #bounds: RingBounds;
  readonly #steps = new Map<string, StepParts>();
  readonly #places = new Map<string, Readonly<{ segment: number; offset: number }>>();
  #last = 0;

  /** Reads what an earlier life has left there. */
  constructor(folder: string, bounds: RingBounds = RING_BOUNDS) {
    this.#folder = folder;
    this.#bounds = bounds;
    for (const name of namesIn(folder)) this.#load(name);
    for (const its of this.#steps.values()) its.parts.sort((a, b) => a.number - b.number);
  }

  /** That have said anything. */
  get steps(): readonly string[] {
    return [...this.#steps.keys()];
  }

  /** How far the logs were read of which lines are here. */
  get places(): ReadonlyMap<string, Readonly<{ segment: number; offset: number }>> {
    return this.#places;
  }

  /** Throws what the file system says; the lines are then counted as lost. */
  append(step: string, lines: readonly NewLine[]): void {
    if (lines.length === 0) return;
    const its = this.#stepOf(step);
    try {
      const part = this.#partFor(its);
      const first = this.#last + 1;
      const text = lines.map((line, index) => lineText(line, first + index)).join("");
      // Set before the write: a torn line is behind them, and nothing is appended to it.
      its.isTorn = true;
      appendFileSync(part.path, text, { mode: 0o600 });
      its.isTorn = false;
      this.#last += lines.length;
      part.first ||= first;
      part.last = this.#last;
      part.lines += lines.length;
      part.bytes += Buffer.byteLength(text);
    } catch (error) {
      its.unwritten += lines.length;
      throw error;
    }
    for (const { place } of lines) this.#placed(place);
    this.#trim();
  }

  /** Lines after a number, in order, and how many that should be among or before them are not kept. */
  read({ after, isWanted, linesMax, told }: RingQuery): RingPage {
    let lost = 0;
    const found: (RingLine & { nth: number })[] = [];
    for (const its of this.#steps.values()) {
      if (!isWanted(its.step)) continue;
      const gone = its.parts[0]?.before ?? 0;
      const known = told.get(its.step) ?? toldUpTo(its, after);
      lost += Math.max(0, gone - known);
      told.set(its.step, Math.max(gone, known));
      for (const part of its.parts.filter(({ last }) => last > after)) {
        const lines = linesOf(part, its.step);
        found.push(...lines.filter(({ number }) => number > after));
      }
    }
    found.sort((a, b) => a.number - b.number);
    const lines = found.slice(0, linesMax);
    for (const { step, nth } of lines) {
      // Also between two that are here: what the disk did not take.
      lost += Math.max(0, nth - (told.get(step) ?? 0) - 1);
      told.set(step, nth);
    }
    return { lines, lost, more: found.length > lines.length };
  }

  #stepOf(step: string): StepParts {
    const known = this.#steps.get(step);
    if (known !== undefined) return known;
    const its: StepParts = { step, parts: [], unwritten: 0, isTorn: false };
    this.#steps.set(step, its);
    return its;
  }

  #partFor(its: StepParts): Part {
    const newest = its.parts.at(-1);
    const isFull = newest !== undefined && newest.bytes >= this.#bounds.partBytes;
    if (newest !== undefined && !isFull && its.unwritten === 0 && !its.isTorn) return newest;
    const part = this.#begin(its);
    while (its.parts.length > PARTS_MAX) dropPart(its);
    return part;
  }

  #begin(its: StepParts): Part {
    const newest = its.parts.at(-1);
    const number = (newest?.number ?? 0) + 1;
    const before = (newest?.before ?? 0) + (newest?.lines ?? 0) + its.unwritten;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const name = Buffer.from(sha256(its.step)).toString("hex").slice(0, NAME_CHARS);
    const path = join(this.#folder, `${name}.${number}`);
    const header = `${JSON.stringify({ step: its.step, before })}\n`;
    writeFileSync(path, header, { mode: 0o600 });
    const bytes = Buffer.byteLength(header);
    const part = { path, number, before, lines: 0, bytes, first: 0, last: 0 };
    its.parts.push(part);
    its.unwritten = 0;
    its.isTorn = false;
    return part;
  }

  #trim(): void {
    const sizeOf = ({ parts }: StepParts) => parts.reduce((sum, { bytes }) => sum + bytes, 0);
    const all = [...this.#steps.values()];
    let total = all.reduce((sum, its) => sum + sizeOf(its), 0);
    while (total > this.#bounds.attemptBytesMax) {
      const [largest] = all.filter(hasLines).sort((a, b) => sizeOf(b) - sizeOf(a));
      if (largest === undefined) return;
      const size = sizeOf(largest);
      // The count of what is gone stays, in the head of an empty part if there is no other.
      if (largest.parts.length === 1) this.#begin(largest);
      dropPart(largest);
      total -= size - sizeOf(largest);
    }
  }

  #placed(place: LinePlace | undefined): void {
    if (place === undefined) return;
    const [identity, segment, offset] = place;
    this.#places.set(identity, { segment, offset });
  }

  #load(name: string): void {
    const number = Number(PART_NAME.exec(name)?.[1]);
    const path = join(this.#folder, name);
    const [head = "", ...rest] = textOf(path).split("\n");
    const { step, before } = headOf(head);
    if (step === undefined || !Number.isSafeInteger(number)) return;
    const part: Part = { path, number, before, lines: 0, bytes: 0, first: 0, last: 0 };
    part.bytes = Buffer.byteLength(head) + rest.reduce((sum, each) => sum + each.length + 1, 0);
    for (const text of rest) {
      const line = lineOf(text, step);
      if (line === undefined) continue;
      part.lines += 1;
      part.first ||= line.number;
      part.last = line.number;
      this.#placed(line.place);
    }
    this.#last = Math.max(this.#last, part.last);
    const its = this.#stepOf(step);
    its.parts.push(part);
    // A life that was cut off may have left half a line at its end.
    its.isTorn = true;
  }
}

/** How many lines of a step a reader was told that goes on behind a number; of what is gone, as many as there can be. */
function toldUpTo({ step, parts }: StepParts, after: number): number {
  const oldest = parts[0];
  if (oldest === undefined || after === 0) return 0;
  const part = parts.findLast(({ first }) => first > 0 && first <= after);
  if (part !== undefined) {
    return part.before + linesOf(part, step).filter(({ number }) => number <= after).length;
  }
  const missedMax = oldest.first === 0 ? 0 : oldest.first - 1 - after;
  return Math.max(0, oldest.before - missedMax);
}

function hasLines({ parts }: StepParts): boolean {
  return parts.some(({ lines }) => lines > 0);
}

function dropPart(its: StepParts): void {
  const oldest = its.parts.shift();
  if (oldest !== undefined) rmSync(oldest.path, { force: true });
}

function linesOf({ path, before }: Part, step: string) {
  const [, ...rest] = textOf(path).split("\n");
  const lines = rest.flatMap((text) => lineOf(text, step) ?? []);
  return lines.map((line, index) => ({ ...line, nth: before + index + 1 }));
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function lineText({ at, copy, text, cutBytes, place }: NewLine, number: number): string {
  const all = [number, at, text, cutBytes, copy, ...(place === undefined ? [] : [place])];
  return `${JSON.stringify(all)}\n`;
}

/** Undefined for half a line. */
function lineOf(json: string, step: string): RingLine | undefined {
  try {
    const [number, at, text, cutBytes, copy, place] = JSON.parse(json) as [
      ...[number, number, string, number, string],
      LinePlace?,
    ];
    return { step, number, at, text, cutBytes, copy, ...(place && { place }) };
  } catch {
    return undefined;
  }
}

function headOf(json: string): Readonly<{ step: string | undefined; before: number }> {
  try {
    const { step, before } = JSON.parse(json) as Record<string, unknown>;
    if (typeof step === "string" && typeof before === "number") return { step, before };
  } catch {
    // As if it were not there.
  }
  return { step: undefined, before: 0 };
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => PART_NAME.test(name));
  } catch {
    return [];
  }
}
