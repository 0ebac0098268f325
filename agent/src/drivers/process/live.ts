/** A copy in the words of the driver contract: its phase, and one line about it for people. */
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import type { DriverContext, Live } from "../driver.ts";
import { logPath } from "../logs.ts";
import { messageOf } from "../output.ts";
import { usageOf } from "./cgroup.ts";
import type { Copy } from "./copies.ts";
import { type ExitNote, writeExit } from "./record.ts";

/** A start that has begun and whose process nobody sees takes this long at most; then it never happened. */
const START_MS_MAX = 10_000;

export function liveOf(copy: Copy, context: DriverContext): Live {
  const phase = phaseOf(copy, context.clock.now());
  const exit = phase === "exited" ? exitOf(copy, context) : undefined;
  const live: Live = {
    key: copy.key,
    handle: copy.handle,
    digest: copy.digest,
    generation: generationOf(copy.generation),
    phase,
    outputs: { ports: copy.ports },
    startedAt: copy.startedAt,
    restarts: copy.restarts,
    message: exit === undefined ? alive(copy, phase) : describeExit(copy, exit, context),
  };
  if (exit !== undefined) return { ...live, exitedAt: exit.at };
  return copy.health?.failing ? { ...live, failing: true } : live;
}

function phaseOf(copy: Copy, now: number): Live["phase"] {
  if (copy.running) return copy.record?.stopping === true ? "stopping" : "running";
  if (copy.process !== undefined || copy.record === undefined) return "exited";
  return Math.abs(now - copy.record.beganAt) < START_MS_MAX ? "starting" : "exited";
}

/** The first who sees that a copy has ended writes down when, so that back-off counts from one moment. */
function exitOf(copy: Copy, context: DriverContext): ExitNote {
  if (copy.exit !== undefined) return copy.exit;
  const note = { at: context.clock.now(), code: undefined, signal: undefined };
  try {
    writeExit(copy.runDir, note);
  } catch (error) {
    // The directory is gone; the copy is reported once more and then forgotten.
    context.log.debug({ copy: copy.handle, error: causeChain(error) }, "nowhere to note an end");
  }
  return note;
}

function alive(copy: Copy, phase: Live["phase"]): string {
  if (copy.process === undefined) return "starting";
  const said = `${phase} as pid ${copy.process.pid}`;
  return copy.health?.failing
    ? `${said}; ${copy.health.overuse ?? "its liveness probe fails"}`
    : said;
}

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

function generationOf(text: string): Generation {
  const [incarnation = "0", number = "0"] = text.split(".");
  return { incarnation: BigInt(incarnation), number: BigInt(number) };
}
