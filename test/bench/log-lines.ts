/** Lines of a JSON log from one moment on, as they come. Reads only what is new. */
import { closeSync, openSync, readSync, statSync } from "node:fs";

/** `time` in ms since 1970, whatever form the log has it in. */
export type LogLine = Readonly<Record<string, unknown>> & Readonly<{ time: number }>;

const READ_BYTES = 65_536;

export class LogLines {
  readonly #path: string;
  #at: number;
  #rest = "";

  /** Begins at the end of what is there now. */
  constructor(path: string) {
    this.#path = path;
    this.#at = sizeOf(path);
  }

  read(): readonly LogLine[] {
    const file = openSync(this.#path, "r");
    try {
      const buffer = Buffer.alloc(READ_BYTES);
      for (;;) {
        const length = readSync(file, buffer, 0, buffer.length, this.#at);
        if (length === 0) break;
        this.#at += length;
        this.#rest += buffer.toString("utf8", 0, length);
      }
    } finally {
      closeSync(file);
    }
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap(parsed);
  }
}

export function parsed(line: string): readonly LogLine[] {
  try {
    const found = JSON.parse(line) as Record<string, unknown>;
    const time = new Date(found["time"] as string | number).getTime();
    return Number.isNaN(time) ? [] : [{ ...found, time }];
  } catch {
    return [];
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
