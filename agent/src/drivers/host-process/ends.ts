/** How a copy ended, in one line for people. */
import type { Generation } from "@holdfast/shared/generation.ts";
import type { DriverContext } from "../driver.ts";
import { logPath } from "../logs.ts";
import { messageOf } from "../output.ts";
import { usageOf } from "./cgroup.ts";
import type { Copy } from "./copies.ts";
import type { ExitNote } from "./record.ts";

/** `exited with status 3: last lines | of its output` */
export function describeExit(copy: Copy, exit: ExitNote, context: DriverContext): string {
  const logs = context.directories(copy.key.instanceId).logs;
  const said = messageOf(logPath(logs, copy.handle), copy.runDir);
  const how = statusOf(copy, exit) + forWantOfMemory(copy);
  return said === "" ? how : `${how}: ${said}`;
}

/** Of a copy that ended. The kernel counts whom it ended so; which process it was is not said. */
function forWantOfMemory({ record }: Copy): string {
  if (record === undefined || usageOf(record.groups).oomKills === 0) return "";
  const limit = record.kept.find(({ amount }) => amount === "limits.memoryMib");
  return ` for want of memory (${limit?.what ?? "a limit above its own"})`;
}

function statusOf(copy: Copy, { code, signal }: ExitNote): string {
  if (signal !== undefined) return `killed by ${signal}`;
  if (code !== undefined) return `exited with status ${code}`;
  if (copy.process === undefined) return "its start was begun and never happened";
  if (copy.ofEarlierBoot) return "ended with the host";
  return "exit status unknown after adoption";
}

/** From the text of a record or a mark. */
export function generationOf(text: string): Generation {
  const [incarnation = "0", number = "0"] = text.split(".");
  return { incarnation: BigInt(incarnation), number: BigInt(number) };
}
