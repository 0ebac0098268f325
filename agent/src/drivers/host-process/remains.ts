/** What is left of a copy once its processes have ended: its control groups and its run directory. */
import { rmSync } from "node:fs";
import { removeGroups } from "./cgroup.ts";
import { readRecord } from "./record.ts";

/** Groups first: the record that names them goes with the directory. Safe to repeat. */
export function removeRemains(runDir: string): void {
  const record = readRecord(runDir);
  if (record !== undefined) removeGroups(record.groups);
  rmSync(runDir, { recursive: true, force: true });
}
