/** Processor time of a running program, as the kernel counts it. */
import { readFileSync } from "node:fs";

/** Of the text of /proc/PID/stat those after the name, which may itself hold spaces and brackets. */
export function fieldsOf(stat: string): readonly string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** The unit of /proc/PID/stat: USER_HZ, which is 100 on all platforms of ours. */
const TICK_MS = 10;

/** User and system time of all its threads since its start, in steps of TICK_MS. */
export function cpuMs(pid: number): number {
  const fields = fieldsOf(readFileSync(`/proc/${pid}/stat`, "latin1"));
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
