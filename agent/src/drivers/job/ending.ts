/** How a run ended, in one line for people, and the last lines of what it said. */

import type { DriverContext } from "../driver.ts";
import { usageOf } from "../host-process/cgroup.ts";
import type { Copy } from "../host-process/copies.ts";
import { lastLines, logPath } from "../logs.ts";
import { messageOf } from "../output.ts";
import { type Ending, type Job, type Run, runHandle, SAID_LINES_MAX } from "./ledger.ts";
import { type Notes, statusText } from "./supervisor.ts";

const ENDED_BY: Record<Ending, string> = {
  deadline: "was ended at its deadline",
  limits: "was ended for passing a limit",
  cancelled: "was cancelled",
  replaced: "was ended, as its next time had come",
  halted: "was ended by a halt while it ran: whether it did its work is not known",
};

/** Before its secrets are gone. */
export function describeUnseen(
  { run, runDir, copy }: Readonly<{ run: Run; runDir: string; copy: Copy | undefined }>,
  notes: Notes | undefined,
  context: DriverContext,
): string {
  const instanceId = copy?.key.instanceId;
  const logs = instanceId === undefined ? undefined : context.directories(instanceId).logs;
  const said = logs === undefined ? "" : messageOf(logPath(logs, copy?.handle ?? ""), runDir);
  const how = howEnded(run, notes, copy);
  return said === "" ? how : `${how}: ${said}`;
}

function howEnded(run: Run, notes: Notes | undefined, copy: Copy | undefined): string {
  if (run.ending === "limits" && copy?.health?.overuse !== undefined) return copy.health.overuse;
  if (run.ending !== undefined) return ENDED_BY[run.ending];
  if (notes?.status !== undefined) {
    return `ended with ${statusText(notes.status)}${forWantOfMemory(copy)}`;
  }
  if (forWantOfMemory(copy) !== "") return `was ended by the kernel${forWantOfMemory(copy)}`;
  const who = copy?.ofEarlierBoot === true ? "the host was switched off" : "all of it was killed";
  return `${who} while it ran: whether it did its work is not known`;
}

/** The kernel counts whom it ended so in the run's own group. */
export function isForWantOfMemory(copy: Copy | undefined): boolean {
  return copy?.record !== undefined && usageOf(copy.record.groups).oomKills > 0;
}

function forWantOfMemory(copy: Copy | undefined): string {
  if (!isForWantOfMemory(copy)) return "";
  const limit = copy?.record?.kept.find(({ amount }) => amount === "limits.memoryMib");
  return ` for want of memory (${limit?.what ?? "a limit above its own"})`;
}

/** Without the run's secrets. */
export function saidBy(
  { instance, handle }: Pick<Job, "instance" | "handle">,
  { number }: Run,
  runDir: string,
  context: DriverContext,
): readonly string[] {
  const path = logPath(context.directories(instance).logs, runHandle(handle, number));
  return lastLines(path, runDir, SAID_LINES_MAX);
}
