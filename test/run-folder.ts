/**
 * One temporary folder for a whole run of the tests, which goes with it: also what a test that fails, or a server that
 * it started, leaves behind. Open to all users, since some tests start programs as another one.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Files that a process which is just ending still writes. */
const REMOVE_TRIES_MAX = 20;

export function setup(): () => void {
  // Short: paths of Unix sockets are below it.
  const folder = mkdtempSync(join(tmpdir(), "hft-"));
  chmodSync(folder, 0o755);
  process.env["TMPDIR"] = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: REMOVE_TRIES_MAX });
}
