/**
 * A probe by a program of the artefact: started like the process itself, with its environment, account, umask and
 * control groups, and no shell. Status 0 says yes. Its time and its output are bounded, and whatever it started in
 * its process group ends with it; a child that left the group belongs to the copy and ends with that.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import type { Answer } from "../ask.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { accountOf } from "../host-process/account.ts";
import { programOf } from "../host-process/artefact.ts";
import { enterGroups } from "../host-process/cgroup.ts";
import { type Copy, MARK } from "../host-process/copies.ts";
import { environmentOf, workDirectory } from "../host-process/environment.ts";
import { endGroup, launch } from "../host-process/launch.ts";
import { redactor } from "../output.ts";
import { eventsHeard } from "../turn.ts";
import type { ProcessHost } from "./host.ts";
import { renderedSpecOf } from "./spec.ts";

/** Of what it says the end is kept; the rest is read and forgotten, so that it never waits for a reader. */
const OUTPUT_BYTES_MAX = 4_096;
const MESSAGE_CHARS_MAX = 200;

type Order = Readonly<{ argv: readonly string[]; timeoutMs: number }>;

export async function probeByProgram(
  host: ProcessHost,
  { argv, timeoutMs }: Order,
  copy: Copy,
  wanted: Wanted,
  context: DriverContext,
): Promise<Answer> {
  const what = `exec ${escapeControls(argv.slice(0, 2).join(" "))}`;
  const leave = () => new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
  try {
    const child = begin(host, argv, copy, wanted, context);
    const { how, said } = await follow(host, child, timeoutMs, context);
    if (context.signal.aborted) throw leave();
    const line = shortOf(said, copy.runDir);
    return { ok: how === "status 0", message: `${what}: ${how}${line === "" ? "" : `: ${line}`}` };
  } catch (error) {
    if (context.signal.aborted) throw leave();
    return { ok: false, message: `${what}: ${causeChain(error)}` };
  }
}

function begin(
  host: ProcessHost,
  argv: readonly string[],
  copy: Copy,
  wanted: Wanted,
  context: DriverContext,
): ChildProcess {
  const spec = renderedSpecOf(wanted.spec);
  const program = programOf({ artefact: spec.artefact, argv }, wanted.artefacts, host.nodePath);
  const account = accountOf(host, spec.user);
  const { runDir, handle, ports } = copy;
  const env = environmentOf({
    ...{ wanted, spec, handle, runDir, ports, account },
    directories: context.directories(wanted.key.instanceId),
    stateDir: context.stateDir,
    more: {},
  });
  const child = launch(host, {
    ...program,
    env: { [MARK.probe]: "1", ...env },
    cwd: workDirectory(runDir, account),
    umask: spec.umask,
    account,
    stdio: ["ignore", "pipe", "pipe"],
  });
  // Before it can start anything by itself; where the kernel refuses, its time limit holds all the same.
  if (child.pid !== undefined && copy.record !== undefined) {
    enterGroups(copy.record.groups, child.pid);
  }
  return child;
}

type Told = Readonly<{ how: string; said: Buffer }>;

async function follow(
  host: ProcessHost,
  child: ChildProcess,
  timeoutMs: number,
  { clock, signal }: DriverContext,
): Promise<Told> {
  let said = Buffer.alloc(0);
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (part: Buffer) => {
      said = Buffer.concat([said, part]).subarray(-OUTPUT_BYTES_MAX);
    });
  }
  const done = new AbortController();
  // Rejects if it could not be started at all.
  const ended = once(child, "exit") as Promise<[number | null, string | null]>;
  const late = clock
    .sleep(timeoutMs, AbortSignal.any([done.signal, signal]))
    .then(eventsHeard)
    .then(() => (done.signal.aborted ? undefined : "late"));
  try {
    const first = await Promise.race([ended, late]);
    const isLate = first === "late";
    // Also what the probe left behind. In the turn in which it ended, so that its number is nobody else's yet.
    endGroup(host, child);
    const [code, killedBy] = await ended;
    // What it has written is in the pipe already.
    await new Promise((resolve) => setImmediate(resolve));
    if (isLate) return { how: `no end within ${timeoutMs} ms; killed`, said };
    return { how: killedBy === null ? `status ${code}` : `killed by ${killedBy}`, said };
  } finally {
    done.abort();
    // A child of it in another group may hold the pipes open for ever.
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  }
}

function shortOf(said: Buffer, runDir: string): string {
  const lines = said.toString("utf8").split("\n");
  const last = lines.findLast((line) => line.trim() !== "") ?? "";
  const shown = redactor(runDir)(last.trim());
  return shown.length > MESSAGE_CHARS_MAX ? `${shown.slice(0, MESSAGE_CHARS_MAX)}…` : shown;
}
