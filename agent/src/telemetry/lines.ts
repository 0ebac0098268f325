/**
 * From bytes of a log to lines: whole lines only, cut where they are too long, safe to show. Pure. An unfinished line
 * is read again with what follows; of one that is too long already only its beginning is kept, until it ends.
 */
import { escapeLine } from "@holdfast/shared/text.ts";

/** Of one line as it is sent, before escaping. */
export const LINE_BYTES_MAX = 8_192;
/** Of one line once control characters are escaped: binary grows sixfold. */
export const LINE_CHARS_MAX = 16_384;
/** Read beyond the cut, so that a secret that begins before it is seen whole. */
const LOOKAHEAD_BYTES = 4_096;
const NEWLINE = 0x0a;

export type Line = Readonly<{
  text: string;
  /** Bytes that were left out. */
  cutBytes: number;
  /** Where the line ends in `data`, its newline included. */
  end: number;
}>;

/** A line that goes on although all that is sent of it has been seen. */
export type OpenLine = Readonly<{ text: string; cutBytes: number }>;

export type Split = Readonly<{
  lines: readonly Line[];
  /** What was used of `data`; the rest is to come again with what follows. */
  used: number;
  open: OpenLine | undefined;
}>;

export type SplitOptions = Readonly<{
  /** From the call before. */
  open: OpenLine | undefined;
  /** Nothing follows: what has no newline is a line all the same. */
  isEnd: boolean;
  linesMax: number;
  redact(line: string): string;
}>;

/** Splits until `linesMax`; what is left then is not used. */
export function splitLines(data: Buffer, options: SplitOptions): Split {
  const { isEnd, linesMax, redact } = options;
  const lines: Line[] = [];
  let { open } = options;
  let at = 0;
  while (at < data.length && lines.length < linesMax) {
    const newline = data.indexOf(NEWLINE, at);
    const isWhole = newline !== -1 || isEnd;
    const bytes = data.subarray(at, newline === -1 ? data.length : newline);
    const isLong = bytes.length > LINE_BYTES_MAX + LOOKAHEAD_BYTES;
    if (!isWhole && open === undefined && !isLong) break;
    const line: OpenLine =
      open === undefined
        ? lineOf(bytes, redact)
        : { text: open.text, cutBytes: open.cutBytes + bytes.length };
    at += bytes.length + (newline === -1 ? 0 : 1);
    open = isWhole ? undefined : line;
    if (isWhole) lines.push({ ...line, end: at });
  }
  return { lines, used: at, open };
}

function lineOf(bytes: Buffer, redact: (line: string) => string): OpenLine {
  const seen = bytes.subarray(0, LINE_BYTES_MAX + LOOKAHEAD_BYTES).toString("utf8");
  const clean = redact(seen.endsWith("\r") ? seen.slice(0, -1) : seen);
  const isCut = bytes.length > LINE_BYTES_MAX;
  const safe = escapeLine(isCut ? clean.slice(0, LINE_BYTES_MAX) : clean);
  const text = safe.slice(0, LINE_CHARS_MAX);
  const cutByEscape = safe.length > LINE_CHARS_MAX ? safe.length - LINE_CHARS_MAX : 0;
  return { text, cutBytes: (isCut ? bytes.length - LINE_BYTES_MAX : 0) + cutByEscape };
}

/** Lines that begin in `data`, without looking at them. */
export function countLines(data: Buffer): number {
  let count = 0;
  for (let at = data.indexOf(NEWLINE); at !== -1; at = data.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}
