/** A copy in the words of the driver contract: its phase, and one line about it for people. */
import { causeChain } from "@holdfast/shared/fault.ts";
import type { DriverContext, Live } from "../driver.ts";
import type { Copy } from "../host-process/copies.ts";
import { describeExit, generationOf } from "../host-process/ends.ts";
import { fieldsOf } from "../host-process/fields.ts";
import { type ExitNote, writeExit } from "../host-process/record.ts";

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

/** As liveOf, with what the driver owns of it and how that is now. */
export function comparedOf(procDir: string, copy: Copy, context: DriverContext): Live {
  const fields = fieldsOf(procDir, copy);
  return fields === undefined ? liveOf(copy, context) : { ...liveOf(copy, context), fields };
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
