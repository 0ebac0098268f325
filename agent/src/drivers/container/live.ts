/** A copy in the words of the driver contract: its phase, and one line about it for people. */
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import { cut, escapeControls } from "@holdfast/shared/text.ts";
import type { DriverContext, Live } from "../driver.ts";
import type { Copy } from "../engine/copies.ts";
import type { ContainerHost } from "../engine/host.ts";
import { hostName } from "../engine/marks.ts";
import { readExit, writeExit } from "../engine/notes.ts";
import { lastOutput } from "../engine/output.ts";
import { messageIn } from "../output.ts";

/** A container that was made and whose start nobody sees takes this long at most; then it never happened. */
const START_MS_MAX = 30_000;
const ENGINE_CHARS_MAX = 300;

export async function liveOf(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
): Promise<Live> {
  const phase = phaseOf(copy, context.clock.now());
  const exit = phase === "exited" ? await endOf(host, copy, context) : undefined;
  const live: Live = {
    key: copy.key,
    handle: copy.handle,
    digest: copy.digest,
    generation: generationOf(copy.generation),
    phase,
    outputs: outputsOf(copy),
    startedAt: copy.createdAt,
    restarts: copy.restarts + copy.engineRestarts,
    message: exit?.message ?? alive(copy, phase),
  };
  if (exit !== undefined) return { ...live, exitedAt: exit.at };
  return copy.health.failing ? { ...live, failing: true } : live;
}

export function outputsOf({ key, handle, ports }: Pick<Copy, "key" | "handle" | "ports">) {
  return { host: hostName(key.resourceId, handle), ports };
}

export function phaseOf({ state, health, createdAt }: Copy, now: number): Live["phase"] {
  if (state === "removing") return "stopping";
  if (state === "exited" || state === "dead") return "exited";
  if (state === "created") return Math.abs(now - createdAt) < START_MS_MAX ? "starting" : "exited";
  return health.stopping ? "stopping" : "running";
}

function alive({ id, state, health }: Copy, phase: Live["phase"]): string {
  if (state === "created") return "starting";
  const name = `container ${id.slice(0, 12)}`;
  if (state === "paused")
    return `${name} is paused by somebody else; docker unpause ${id.slice(0, 12)}`;
  if (state === "restarting") return `${name} has ended; the engine starts it again`;
  return `${phase} as ${name}${health.failing ? "; its liveness probe fails" : ""}`;
}

/** The first who sees that a copy has ended keeps what it said last, so that the engine is asked once. */
async function endOf(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
): Promise<Readonly<{ at: number; message: string }>> {
  const known = readExit(copy.runDir);
  if (known !== undefined && (copy.exit === undefined || copy.exit.at === known.at)) return known;
  const at = copy.exit?.at ?? context.clock.now();
  const note = { at, message: await describeExit(host, copy, context) };
  try {
    writeExit(copy.runDir, note);
  } catch (error) {
    context.log.debug({ copy: copy.handle, error: causeChain(error) }, "nowhere to note an end");
  }
  return note;
}

/** `exited with status 3: last lines | of its output` */
export async function describeExit(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
): Promise<string> {
  const { exit } = copy;
  if (exit === undefined) return "its start was begun and never happened";
  const refused = cut(escapeControls(exit.error), ENGINE_CHARS_MAX);
  if (refused !== "") return `the engine could not start it: ${refused}`;
  const how = exit.wasKilledForMemory
    ? "killed for want of memory (its memory limit)"
    : statusOf(exit.code);
  const said = messageIn(await lastOutput(host, copy, context));
  return said === "" ? how : `${how}: ${said}`;
}

/** Beyond 128 the shell's way to say which signal ended it. */
function statusOf(code: number): string {
  const signal = code > 128 && code <= 192 ? ` (signal ${code - 128})` : "";
  return `exited with status ${code}${signal}`;
}

function generationOf(text: string): Generation {
  const [incarnation = "0", number = "0"] = text.split(".");
  return { incarnation: BigInt(incarnation), number: BigInt(number) };
}
