/**
 * The lines of a recorder's file. One JSON object a line; a header opens a segment, which stands for itself: the first
 * line of a track in it has the track's whole state, each further one an event and checks of what came of it.
 */
import { crc32 } from "node:zlib";
import type { Json } from "./redact.ts";

/** Of the form of these lines; a reader refuses a higher one. */
export const FLIGHT_FORMAT = 1;
/** A longer line is not written; its track begins anew with its state. */
export const LINE_BYTES_MAX = 16 * 1024;

export type HeaderLine = Readonly<{
  flight: number;
  program: string;
  version: string;
  /** Of the process; segments of one life belong together. */
  life: string;
  segment: number;
  at: number;
}>;

export type StateLine = Readonly<{ t: number; machine: string; of: string; state: Json }>;

export type StepLine = Readonly<{
  t: number;
  at: number;
  event: Json;
  /** What was drawn, in order. */
  random?: readonly number[];
  /** Checks of the state and the effects that came of it; none where the machine threw. */
  checks?: readonly [number, number];
  /** So many steps before this one were like the one before them, changed nothing, and are not written. */
  same?: number;
}>;

/** A step is missing here; the track's next line has its state. */
export type GapLine = Readonly<{ t: number; gap: "LINE_LONG" | "NOT_PLAIN" }>;

export type EndLine = Readonly<{ end: "stopped" | "crashed"; at: number; error?: string }>;

/** Notices a machine that decides otherwise; no protection against forgers. */
export function checkOf(text: string): number {
  return crc32(text);
}
