/** The hub's log: structured lines on standard error, with what is secret cut out by its field's name. */
import type { Log } from "@holdfast/shared/log.ts";
import { pino } from "pino";

/** Fields that hold a secret wherever they stand; nothing should log them, and if it does it shows nothing. */
const SECRET_FIELDS = [
  "authorization",
  "token",
  "joinToken",
  "secret",
  "password",
  "privateKey",
  "wrapped",
  "databaseUrl",
];
const STDERR = 2;

/** Where lines go; standard error unless a test reads them. */
export type LogLines = Readonly<{ write(line: string): void }>;

export function createLog(
  level: string,
  lines: LogLines = pino.destination({ dest: STDERR, sync: true }),
): Log {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  const options = {
    level,
    base: { program: "holdfast-hub" },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: "[redacted]" },
  };
  return pino(options, lines);
}
