/** What reader and writer of SQLite files share. */
import { statSync } from "node:fs";

/** Waiting blocks the event loop, so it stays well below the deadline of a health probe (1 s). */
export const BUSY_TIMEOUT_MS = 200;

/**
 * Tells a file from another one under the same name; an open database would go on with the old one, which nobody
 * sees any more. Throws when there is no file.
 */
export function fileIdentity(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
