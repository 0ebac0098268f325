/**
 * Reads the seats file that the agent keeps. A file that is missing or damaged leaves the seats as they were last
 * known: unknown is not empty.
 */
import { readFileSync, statSync } from "node:fs";
import type { Seat } from "./model.ts";

const SEATS_MAX = 10_000;
const SEATS_FILE_BYTES_MAX = 16 * 1024 * 1024;

export class SeatsFileError extends Error {
  override readonly name = "SeatsFileError";
}

/** Throws SeatsFileError, or the file system's error. */
export function readSeats(path: string): readonly Seat[] {
  const bytes = statSync(path).size;
  if (bytes > SEATS_FILE_BYTES_MAX) {
    throw new SeatsFileError(`seats file has ${bytes} bytes; at most ${SEATS_FILE_BYTES_MAX}`);
  }
  return parseSeats(readFileSync(path, "utf8"));
}

/** Throws SeatsFileError. */
export function parseSeats(text: string): readonly Seat[] {
  const list = listOf(text);
  if (list.length > SEATS_MAX) {
    throw new SeatsFileError(`seats file has ${list.length} seats; at most ${SEATS_MAX}`);
  }
  const seats = list.map(seatOf);
  const accounts = seats.filter((seat) => !seat.reserved);
  for (const word of ["id", "name"] as const) {
    // Two seats for one account would copy and count its rows twice.
    if (new Set(accounts.map((seat) => seat[word])).size < accounts.length) {
      throw new SeatsFileError(`seats file has two seats with the same ${word}`);
    }
  }
  return seats;
}

function listOf(text: string): readonly unknown[] {
  try {
    const { seats } = JSON.parse(text) ?? {};
    if (Array.isArray(seats)) return seats;
  } catch (cause) {
    throw new SeatsFileError("seats file is not JSON", { cause });
  }
  throw new SeatsFileError("seats file has no list of seats");
}

function seatOf(value: unknown, at: number): Seat {
  const { seat: id, name, reserved } = (value ?? {}) as Readonly<Record<string, unknown>>;
  // The id becomes a label of a metric and must be the same text there.
  if (typeof id !== "string" || !/^[\w.-]{1,100}$/.test(id)) {
    throw new SeatsFileError(`seats[${at}].seat: expected an id such as sea_…`);
  }
  if (typeof name !== "string" || name === "") {
    throw new SeatsFileError(`seats[${at}].name: expected text`);
  }
  return { id, name, reserved: reserved === true };
}
