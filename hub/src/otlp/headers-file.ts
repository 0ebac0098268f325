/**
 * The file that holds the headers of each request, such as an API key: a line for each, `name: value`, lines that
 * begin with # left out. Values are secrets and never shown. It must not be open to others.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";

const BYTES_MAX = 16 * 1024;
const LINES_MAX = 32;
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const VALUE = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;
/** The request's own. */
const RESERVED = /^(content-.*|host|connection|transfer-encoding|user-agent)$/i;

/** Throws FAILED_PRECONDITION for a file that cannot be used. */
export function readHeaders(path: string): Readonly<Record<string, string>> {
  return headersOf(readPrivate(path), path);
}

/** Pure. Throws FAILED_PRECONDITION `OTLP_HEADERS_MALFORMED` that names the line and not what stands in it. */
export function headersOf(text: string, path: string): Readonly<Record<string, string>> {
  const lines = text.split("\n").map((line, at) => ({ line: line.trim(), at: at + 1 }));
  const given = lines.filter(({ line }) => line !== "" && !line.startsWith("#"));
  if (given.length > LINES_MAX) {
    throw malformed(`${path}: ${given.length} headers; allowed: at most ${LINES_MAX}`);
  }
  return Object.fromEntries(
    given.map(({ line, at }) => {
      const colon = line.indexOf(":");
      const [name, value] = [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
      if (colon < 1 || !NAME.test(name) || !VALUE.test(value)) {
        throw malformed(`${path}: line ${at}: not of this form; allowed: name: value`);
      }
      if (RESERVED.test(name)) {
        throw malformed(`${path}: line ${at}: ${name} is set by the hub itself`);
      }
      return [name.toLowerCase(), value];
    }),
  );
}

function readPrivate(path: string): string {
  const file = opened(path);
  try {
    const { mode } = fstatSync(file);
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw new Fault(
        "FAILED_PRECONDITION",
        "OTLP_HEADERS_OPEN",
        `otlp_headers_file: ${path} has mode ${octal}; allowed: 0600`,
        { next: `chmod 600 ${path}` },
      );
    }
    const bytes = Buffer.alloc(BYTES_MAX + 1);
    const length = readSync(file, bytes, 0, bytes.length, null);
    if (length > BYTES_MAX) throw malformed(`${path}: allowed: at most ${BYTES_MAX} bytes`);
    return bytes.toString("utf8", 0, length);
  } catch (error) {
    throw error instanceof Fault ? error : unreadable("otlp_headers_file", path, error);
  } finally {
    closeSync(file);
  }
}

function opened(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw unreadable("otlp_headers_file", path, error);
  }
}

function malformed(message: string): Fault {
  return new Fault(
    "FAILED_PRECONDITION",
    "OTLP_HEADERS_MALFORMED",
    `otlp_headers_file: ${message}`,
  );
}
