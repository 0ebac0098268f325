/**
 * A recorder's files: two segments that take turns, so that the newest events are always there and space is bounded,
 * and the segments of earlier lives that did not end in order. Written without fsync: they outlive the process however
 * it ends, but not a loss of power. The file system is handed in.
 */
import { Fault } from "../fault.ts";
import type { EndLine, HeaderLine } from "./line.ts";

/** What of node:fs it takes. */
export interface FileSystem {
  mkdirSync(path: string, options: Readonly<{ recursive: true; mode: number }>): unknown;
  readdirSync(path: string): readonly string[];
  existsSync(path: string): boolean;
  readFileSync(path: string, encoding: "utf8"): string;
  writeFileSync(
    path: string,
    text: string,
    options: Readonly<{ mode: number; flag: string }>,
  ): void;
  openSync(path: string, flags: string, mode: number): number;
  appendFileSync(file: number, text: string): void;
  closeSync(file: number): void;
  renameSync(from: string, to: string): void;
  rmSync(path: string, options: Readonly<{ force: true }>): void;
}

/** Lives that ended without an end; the oldest goes. */
export const INCIDENTS_MAX = 4;
const CURRENT = "current.jsonl";
const PREVIOUS = "previous.jsonl";
const FRESH = "incident.new";
const INCIDENT = /^incident-.+\.jsonl$/;
/** Its owner alone reads it. */
export const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

export class FlightRing {
  readonly #fs: FileSystem;
  readonly #folder: string;
  #file: number | undefined;

  constructor(fs: FileSystem, folder: string) {
    this.#fs = fs;
    this.#folder = folder;
  }

  /**
   * Makes the folder and puts aside what an earlier life left. The name of its incident, if it did not end in order.
   */
  takeUp(now: number): string | undefined {
    this.#fs.mkdirSync(this.#folder, { recursive: true, mode: FOLDER_MODE });
    const current = wholeLines(this.#read(CURRENT));
    if (current === "") return undefined;
    if (endOf(current) === "stopped") {
      this.#fs.renameSync(this.#path(CURRENT), this.#path(PREVIOUS));
      return undefined;
    }
    const previous = wholeLines(this.#read(PREVIOUS));
    const isSameLife = lifeOf(previous) === lifeOf(current);
    const name = `incident-${new Date(now).toISOString().replaceAll(/[:-]/g, "")}.jsonl`;
    const text = isSameLife ? previous + current : current;
    // A kill in the middle leaves no half of an incident.
    this.#fs.writeFileSync(this.#path(FRESH), text, { mode: FILE_MODE, flag: "w" });
    this.#fs.renameSync(this.#path(FRESH), this.#path(name));
    this.#fs.rmSync(this.#path(CURRENT), { force: true });
    if (isSameLife) this.#fs.rmSync(this.#path(PREVIOUS), { force: true });
    this.#forgetOldest();
    return name;
  }

  /** A new segment takes the place of the one before the last. */
  rotate(): void {
    this.close();
    if (this.#fs.existsSync(this.#path(CURRENT))) {
      this.#fs.renameSync(this.#path(CURRENT), this.#path(PREVIOUS));
    }
    this.#file = this.#fs.openSync(this.#path(CURRENT), "w", FILE_MODE);
  }

  append(text: string): void {
    if (this.#file !== undefined) this.#fs.appendFileSync(this.#file, text);
  }

  close(): void {
    if (this.#file === undefined) return;
    const file = this.#file;
    this.#file = undefined;
    this.#fs.closeSync(file);
  }

  /** Both segments, older first, without a last line that a kill cut off. */
  text(): string {
    const text = wholeLines(this.#read(PREVIOUS)) + wholeLines(this.#read(CURRENT));
    if (text !== "") return text;
    throw new Fault("NOT_FOUND", "FLIGHT_MISSING", `${this.#folder}: nothing was recorded here`);
  }

  #forgetOldest(): void {
    const incidents = this.#fs.readdirSync(this.#folder).filter((name) => INCIDENT.test(name));
    for (const name of incidents.toSorted().slice(0, -INCIDENTS_MAX)) {
      this.#fs.rmSync(this.#path(name), { force: true });
    }
  }

  #read(name: string): string {
    const path = this.#path(name);
    return this.#fs.existsSync(path) ? this.#fs.readFileSync(path, "utf8") : "";
  }

  #path(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf("\n") + 1);
}

function endOf(text: string): string | undefined {
  const last = text.slice(text.lastIndexOf("\n", text.length - 2) + 1);
  return parsed<EndLine>(last)?.end;
}

function lifeOf(text: string): string | undefined {
  return parsed<HeaderLine>(text.slice(0, text.indexOf("\n") + 1))?.life;
}

/** Of a line that an earlier life wrote; undefined if it is none. */
function parsed<Line>(line: string): Partial<Line> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Partial<Line>) : undefined;
  } catch {
    return undefined;
  }
}
