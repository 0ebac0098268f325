/**
 * Limits of a copy that has no control group for them: the agent adds up what all of its processes have and ends a
 * copy that has more. Only as often as it looks, so what happens in between is not prevented; `caveatOf` says so.
 */
import type { ProcessLimits } from "@holdfast/shared/blueprint/kinds/process-limits.ts";
import type { DriverContext } from "../driver.ts";
import { type Copy, findCopy } from "./copies.ts";
import type { ProgramHost } from "./host.ts";
import { residentKib, sharedOutKib } from "./proc.ts";

const KIB_PER_MIB = 1_024;

/** Which limit is passed, in words; empty if none is. */
export async function overuseOf(
  host: Pick<ProgramHost, "procDir" | "looks">,
  copy: Copy,
  { memoryMib, pids }: ProcessLimits,
  context: DriverContext,
): Promise<string> {
  const { procDir } = host;
  const watched = new Set(
    (copy.record?.kept ?? []).flatMap(({ amount, how }) => (how === "watched" ? [amount] : [])),
  );
  const isMemory = memoryMib !== undefined && watched.has("limits.memoryMib");
  const isPids = pids !== undefined && watched.has("limits.pids");
  if (!isMemory && !isPids) return "";
  const members = (await findCopy(host, context, copy.key, copy.handle))?.members ?? [];
  if (isPids && members.length > pids) {
    return `has ${members.length} processes; its pids limit is ${pids}; it is ended`;
  }
  if (!isMemory) return "";
  const sum = (kibOf: (pid: number) => number) =>
    Math.ceil(members.reduce((kib, { pid }) => kib + kibOf(pid), 0) / KIB_PER_MIB);
  // Resident memory counts what several have in common several times: quick, and never too little.
  if (sum((pid) => residentKib(procDir, pid)) <= memoryMib) return "";
  const mib = sum((pid) => sharedOutKib(procDir, pid) ?? residentKib(procDir, pid));
  if (mib <= memoryMib) return "";
  return `uses ${mib} MiB of memory; its memory limit is ${memoryMib} MiB; it is ended`;
}
