/**
 * The smallest whole driver, to begin a new one from; docs/drivers.md goes through it. Its kind is `note`: a copy is one
 * file with the spec's text, below the instance's run directory. It belongs to no program, and no release may name it.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { causeChain, Fault, type Violation } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  type Difference,
  type Driver,
  type DriverContext,
  type JsonObject,
  type Live,
  STANDING_VERBS,
  type Step,
  type StepContext,
  type StepOrder,
  type StepOutcome,
  type Wanted,
} from "../driver.ts";
import { foldersOf } from "../folders.ts";
import { nextNumber, stemOf } from "../handles.ts";
import { readJson, replaceJson } from "../json-file.ts";
import { isHandle } from "../names.ts";

const KIND = "note";
const TEXT_CHARS_MAX = 10_000;
/** Of one write, on a disk that is slow. */
const WRITE_MS_MAX = 10_000;
const READINESS = { deadlineMs: 5_000, intervalMs: 50 } as const;

export function noteDriver(): Driver {
  return {
    kind: KIND,
    isAtomic: true,
    missing: async () => undefined,
    check,
    observe: async (context) => observe(context),
    prepare: async (wanted) => refuse(check(wanted.spec, wanted.key.resourceId)),
    steps,
    restart,
    drift,
    revert,
    run: (order, context) => run(order, context),
    readiness: () => READINESS,
    health: async ({ phase, message }) =>
      phase === "running"
        ? { state: "ready", alive: true, message }
        : { state: "failed", alive: false, message },
    // It counts nothing and says nothing.
    readings: async () => [],
    readingsKept: async () => undefined,
    logs: async () => [],
    logFiles: async () => [],
    readLog: async (_, at) => ({ data: Buffer.alloc(0), at, isEnd: false, wasCut: false }),
    redactor: () => undefined,
    drop: async (instanceId, context) => {
      for (const name of notesIn(runOf(context, instanceId))) {
        rmSync(join(runOf(context, instanceId), name), { force: true });
      }
    },
    // What a release says is no data.
    kept: async () => [],
    destroy: async () => undefined,
  };
}

/** A real kind has its rules in shared/src/blueprint/kinds, so that the hub and the command line judge alike. */
function check({ text, ...rest }: JsonObject, path: string): readonly Violation[] {
  const unknown = Object.keys(rest).map((name) => {
    return { path: `${path}.${name}`, message: "no such field; allowed: text" };
  });
  if (typeof text === "string" && text.length <= TEXT_CHARS_MAX) return unknown;
  const message = `got ${shown(text ?? "")}; want a text of at most ${TEXT_CHARS_MAX} characters`;
  return [...unknown, { path: `${path}.text`, message }];
}

function refuse([first]: readonly Violation[]): void {
  if (first === undefined) return;
  throw new Fault("INVALID_ARGUMENT", "SPEC_INVALID", `${first.path}: ${first.message}`);
}

/** By their marks: every file is looked at, whoever wrote it; what is not ours is no copy. */
function observe(context: DriverContext): readonly Live[] {
  const instances = join(context.stateDir, "instances");
  return foldersOf(instances).flatMap((folder) => {
    const run = join(instances, folder, "run");
    return notesIn(run).flatMap((name) => {
      const note = readJson(join(run, name));
      return note === undefined ? [] : [liveOf(name.slice(0, -SUFFIX.length), note)];
    });
  });
}

const SUFFIX = ".note";

function notesIn(run: string): readonly string[] {
  if (!existsSync(run)) return [];
  return readdirSync(run).filter((name) => name.endsWith(SUFFIX));
}

function liveOf(handle: string, note: JsonObject): Live {
  const text = (name: string): string => String(note[name] ?? "");
  return {
    key: { instanceId: text("instance"), resourceId: text("resource") },
    handle,
    digest: text("digest"),
    generation: { incarnation: BigInt(text("incarnation")), number: BigInt(text("number")) },
    phase: "running",
    outputs: { handle },
    startedAt: Number(note["at"]),
    restarts: 0,
    message: `${text("text").length} characters`,
    fields: { text: text("text") },
  };
}

/** Pure: the same facts give the same steps with the same names. */
function steps(
  live: readonly Live[],
  last: Wanted | undefined,
  wanted: Wanted | undefined,
): readonly Step[] {
  const copies = ownOf(live, wanted ?? last);
  const serving = copies.findLast(({ digest }) => digest === wanted?.digest);
  const removals = copies.filter((copy) => copy !== serving).map(removeLater);
  const isDue = wanted !== undefined && serving === undefined;
  return isDue ? [write(wanted, nameOf(wanted, copies)), ...removals] : removals;
}

function restart(live: readonly Live[], wanted: Wanted): readonly Step[] {
  const copies = ownOf(live, wanted);
  return [write(wanted, nameOf(wanted, copies)), ...copies.map(removeLater)];
}

function drift({ fields }: Live, { spec }: Wanted): readonly Difference[] {
  const applied = spec["text"] ?? "";
  const live = fields?.["text"];
  return live === undefined || live === applied ? [] : [{ path: "text", applied, live }];
}

/** The same copy, written again. */
function revert(live: Live, applied: Wanted): readonly Step[] {
  return drift(live, applied).length === 0 ? [] : [write(applied, live.handle)];
}

function ownOf(live: readonly Live[], of: Wanted | undefined): readonly Live[] {
  return live.filter(
    ({ key }) =>
      of === undefined ||
      (key.instanceId === of.key.instanceId && key.resourceId === of.key.resourceId),
  );
}

function nameOf(wanted: Wanted, copies: readonly Live[]): string {
  const stem = stemOf(wanted);
  const handles = copies.map(({ handle }) => handle);
  return `${stem}${nextNumber(stem, handles)}`;
}

function write({ key, digest, releaseVersion }: Wanted, handle: string): Step {
  const order = { resourceId: key.resourceId, kind: KIND };
  const input = { instance: key.instanceId, handle };
  return {
    ...order,
    verb: "write",
    input: { ...input, digest },
    id: `${key.resourceId}/write`,
    class: "reversible",
    when: "before-commit",
    summary: `write ${key.resourceId} of ${releaseVersion}`,
    msMax: WRITE_MS_MAX,
    undo: { ...order, verb: "remove", input, summary: `remove the new ${key.resourceId}` },
  };
}

function removeLater({ key, handle }: Live): Step {
  return {
    resourceId: key.resourceId,
    kind: KIND,
    verb: "remove",
    input: { instance: key.instanceId, handle },
    id: `${key.resourceId}/remove/${handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `remove the old ${key.resourceId} (${handle})`,
    msMax: WRITE_MS_MAX,
  };
}

/** Safe to repeat and to be cut off anywhere: a note is there as a whole or not at all. */
async function run(order: StepOrder, context: StepContext): Promise<StepOutcome> {
  if (order.verb === STANDING_VERBS.signal) return { message: "a note takes no signal" };
  const handle = String(order.input["handle"]);
  const instance = String(order.input["instance"]);
  if (!isHandle(handle)) {
    throw new Fault("INTERNAL", "STEP_INPUT", `${order.verb}: handle: got ${shown(handle)}`);
  }
  const path = join(runOf(context, instance), `${handle}${SUFFIX}`);
  switch (order.verb) {
    case "write":
      return put(path, handle, await context.wanted(String(order.input["digest"])), context);
    case "remove":
      rmSync(path, { force: true });
      return { handle };
    default: {
      const message = `${order.resourceId}: got ${shown(order.verb)}; a note knows write, remove, signal`;
      throw new Fault("UNIMPLEMENTED", "VERB_UNKNOWN", message);
    }
  }
}

/** What it did before it finds again, and says the same: also when it was written by an agent that has ended. */
function put(path: string, handle: string, wanted: Wanted, context: StepContext): StepOutcome {
  const { key, digest, generation, spec } = wanted;
  const known = readJson(path);
  const note = {
    ...{ instance: key.instanceId, resource: key.resourceId, digest, text: spec["text"] ?? "" },
    ...{ incarnation: String(generation.incarnation), number: String(generation.number) },
    at: known?.["at"] ?? context.clock.now(),
  };
  try {
    replaceJson(path, note, { durable: true });
  } catch (error) {
    const message = `${key.resourceId}: the host refused: ${causeChain(error)}`;
    throw new Fault("UNAVAILABLE", "HOST_REFUSED", message, { cause: error });
  }
  return { handle, outputs: { handle } };
}

function runOf(context: DriverContext, instanceId: string): string {
  return context.directories(instanceId).run;
}
