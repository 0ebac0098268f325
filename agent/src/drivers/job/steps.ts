/**
 * What is to be done about one job resource. Pure.
 *
 *   at each change       run it to its end, unless this digest was run before
 *   hook: before         run it to its end, unless this generation was; everything else depends on it
 *   hook: after          write it down before the commit, run it after, once for each generation
 *   schedule             write it down before the commit; from then on each run in its time, while it serves
 *
 * What was done is kept as long as it is the newest of its resource: by that it is known not to be done again.
 */
import { readCalendar } from "@holdfast/shared/cron.ts";
import { compareGenerations, formatGeneration } from "@holdfast/shared/generation.ts";
import type { JsonObject, Live, Step, StepOrder, Wanted } from "../driver.ts";
import { nextNumber, stemOf } from "../handles.ts";
import { factsIn } from "./live.ts";
import { type Move, nextScheduled } from "./next.ts";
import {
  classOf,
  DRIVER_KIND,
  endMsMax,
  type JobSpec,
  runMsMax,
  START_MS_MAX,
  specOf,
  undoMsMax,
} from "./spec.ts";

export function stepsFor(
  live: readonly Live[],
  last: Wanted | undefined,
  wanted: Wanted | undefined,
  now: number,
): readonly Step[] {
  const own = wanted?.key ?? last?.key;
  const copies = live.filter(({ key }) => {
    if (own === undefined) return true;
    return key.instanceId === own.instanceId && key.resourceId === own.resourceId;
  });
  // What has done its work takes nothing, and by it the same work is not done twice.
  if (wanted === undefined)
    return copies.filter((copy) => !isDone(copy)).map((copy) => forget(copy));
  const spec = specOf(wanted.spec);
  const kept = copies.findLast((copy) => isOf(copy, wanted, spec) && isSound(copy));
  const others = copies.filter((copy) => copy !== kept).map((copy) => forget(copy));
  if (kept !== undefined) return [...whileKept(kept, wanted, spec, now), ...others];
  const handle = newHandle(wanted, copies);
  const isLost = spec.effect !== "none" && wasCommitted(last, wanted, spec);
  if (isLost) return [recall(wanted, handle), ...others];
  switch (spec.when.kind) {
    case "change":
    case "before":
      return [run(wanted, spec, handle, "before-commit"), ...others];
    case "after":
      return [arm(wanted, spec, handle), run(wanted, spec, handle, "after-commit"), ...others];
    case "schedule":
      return [arm(wanted, spec, handle), ...others];
  }
}

/** Once more, because somebody asked; what it does then no return takes back, since it is no part of a change. */
export function restartSteps(live: readonly Live[], wanted: Wanted): readonly Step[] {
  const { key } = wanted;
  const copies = live.filter((copy) => {
    return copy.key.instanceId === key.instanceId && copy.key.resourceId === key.resourceId;
  });
  const spec = specOf(wanted.spec);
  const step = run(wanted, spec, newHandle(wanted, copies), "before-commit");
  const asked: Step = {
    ...step,
    class: spec.effect === "none" ? "reversible" : "irreversible",
    summary: `run ${key.resourceId} once more, as was asked for`,
    undo: forgetOrder(wanted, step.input["handle"], spec, `forget this run of ${key.resourceId}`),
  };
  return [asked, ...copies.map((copy) => forget(copy))];
}

/**
 * Ends what runs and keeps what is known of it. Also what undoes a job may be run more than once; of its own program only
 * what can be taken back.
 */
export function haltOrders(live: readonly Live[], isAll: boolean): readonly StepOrder[] {
  return live.filter((copy) => mayRun(copy) && (isAll || mayBeEnded(copy))).map(haltOrder);
}

function mayRun({ phase }: Live): boolean {
  return phase === "starting" || phase === "running" || phase === "stopping";
}

function mayBeEnded(copy: Live): boolean {
  const { effect, isOver } = factsIn(copy);
  return effect !== "irreversible" || isOver;
}

function haltOrder({ key: { instanceId, resourceId }, handle }: Live): StepOrder {
  return orderOf(resourceId, "halt", { instance: instanceId, handle });
}

/** Hooks belong to a generation, all else to what it was rendered to. */
function isOf({ digest, generation }: Live, wanted: Wanted, { when }: JobSpec): boolean {
  if (digest !== wanted.digest) return false;
  const isHook = when.kind === "before" || when.kind === "after";
  return !isHook || compareGenerations(generation, wanted.generation) >= 0;
}

/** Not one that has failed, was cut off or is on its way back: a plan that is made anew is to try anew. */
function isSound({ phase }: Live): boolean {
  return phase !== "exited" && phase !== "stopping";
}

function isDone(copy: Live): boolean {
  const { when, runs, isOver } = factsIn(copy);
  return copy.phase === "idle" && when === "change" && (runs > 0 || isOver);
}

function whileKept(kept: Live, wanted: Wanted, spec: JobSpec, now: number): readonly Step[] {
  const { when } = spec;
  const { runs } = factsIn(kept);
  if (when.kind === "schedule") return scheduled(kept, wanted, spec, now);
  const isWaiting = when.kind === "after" && runs === 0 && !factsIn(kept).isOver;
  if (isWaiting) return [run(wanted, spec, kept.handle, "after-commit")];
  // Cut off in the middle, it is gone on with.
  const isUnderWay = kept.phase === "starting" || kept.phase === "running";
  return isUnderWay ? [run(wanted, spec, kept.handle, whenOf(spec))] : [];
}

function whenOf({ when }: JobSpec): Step["when"] {
  return when.kind === "after" ? "after-commit" : "before-commit";
}

function scheduled(kept: Live, wanted: Wanted, spec: JobSpec, now: number): readonly Step[] {
  const { when } = spec;
  if (when.kind !== "schedule") return [];
  const calendar = readCalendar(when.cron, when.timeZone);
  if ("problem" in calendar) return [];
  const { run: standing, runs, isSettled } = factsIn(kept);
  const isOver = standing?.endedAt !== undefined;
  const settle = isOver && !isSettled ? [settleStep(kept, wanted)] : [];
  const timetable = { ...when, calendar, since: kept.startedAt };
  const moves = nextScheduled(standing, spec, timetable, now);
  return [...settle, ...moves.flatMap((move) => stepOf(move, kept, wanted, spec, runs, now))];
}

function stepOf(
  move: Move,
  kept: Live,
  wanted: Wanted,
  spec: JobSpec,
  runs: number,
  now: number,
): readonly Step[] {
  if (move.do === "nothing") return [];
  const { resourceId } = wanted.key;
  const wait = move.at > now ? { notBefore: move.at } : {};
  const input = { ...inputFor(wanted, kept.handle), generation: formatGeneration(kept.generation) };
  if (move.do === "end") {
    const number = runs - 1;
    return [
      {
        ...orderOf(resourceId, "stop", { ...input, number, why: move.why }),
        id: `${resourceId}/stop/${number}`,
        class: "reversible",
        when: "while-serving",
        summary: `end the run of ${resourceId} (${move.why})`,
        msMax: endMsMax(spec),
        ...wait,
      },
    ];
  }
  const { dueAt } = move;
  const more = { number: runs, try: move.try, ...(dueAt !== undefined && { dueAt }) };
  const time = dueAt === undefined ? "" : ` of ${new Date(dueAt).toISOString()}`;
  return [
    {
      ...orderOf(resourceId, "start", { ...input, ...more }),
      id: `${resourceId}/start/${runs}`,
      class: classOf(spec),
      when: "while-serving",
      summary: `run ${resourceId}${time}${move.try > 1 ? `, try ${move.try}` : ""}`,
      msMax: START_MS_MAX,
      ...wait,
    },
  ];
}

function settleStep(kept: Live, wanted: Wanted): Step {
  const { resourceId } = wanted.key;
  return {
    ...orderOf(resourceId, "settle", inputFor(wanted, kept.handle)),
    id: `${resourceId}/settle/${factsIn(kept).runs - 1}`,
    class: "reversible",
    when: "while-serving",
    summary: `write down how ${resourceId} ended`,
    msMax: START_MS_MAX,
  };
}

function run(wanted: Wanted, spec: JobSpec, handle: string, when: Step["when"]): Step {
  const { resourceId } = wanted.key;
  const what = `${resourceId} of ${wanted.releaseVersion}`;
  const step: Step = {
    ...orderOf(resourceId, "run", inputFor(wanted, handle)),
    id: `${resourceId}/run`,
    class: classOf(spec),
    when,
    summary: `run ${what} to its end${MEANING[spec.effect]}`,
    msMax: runMsMax(spec),
  };
  if (when !== "before-commit" || spec.effect === "irreversible") return step;
  // What it has begun cannot be left half done where nothing takes it back.
  const verb = spec.effect === "undone" ? "undo" : "forget";
  const summary = spec.effect === "undone" ? `undo what ${what} did` : `forget this run of ${what}`;
  const undo = orderOf(resourceId, verb, inputFor(wanted, handle));
  return { ...step, mayBeCut: true, undo: { ...undo, summary, msMax: undoMsMax(spec) } };
}

const MEANING: Record<JobSpec["effect"], string> = {
  none: "",
  undone: ", which its undo takes back",
  irreversible: ", which nothing takes back",
};

function arm(wanted: Wanted, spec: JobSpec, handle: string): Step {
  const { resourceId } = wanted.key;
  const { when } = spec;
  const time =
    when.kind === "schedule" ? `at ${when.cron} in ${when.timeZone}` : "once this is committed";
  return {
    ...orderOf(resourceId, "arm", inputFor(wanted, handle)),
    id: `${resourceId}/arm`,
    class: "reversible",
    when: "before-commit",
    summary: `have ${resourceId} of ${wanted.releaseVersion} run ${time}`,
    msMax: START_MS_MAX,
    undo: forgetOrder(wanted, handle, spec, `let ${resourceId} not run`),
  };
}

function recall(wanted: Wanted, handle: string): Step {
  const { resourceId } = wanted.key;
  const spec = specOf(wanted.spec);
  return {
    ...orderOf(resourceId, "recall", inputFor(wanted, handle)),
    id: `${resourceId}/recall`,
    class: "reversible",
    when: "before-commit",
    summary: `note that ${resourceId} was run before; the record of it is lost`,
    msMax: START_MS_MAX,
    undo: forgetOrder(wanted, handle, spec, `forget the note about ${resourceId}`),
  };
}

/** What serves has been run, or it would not serve. */
function wasCommitted(last: Wanted | undefined, wanted: Wanted, { when }: JobSpec): boolean {
  if (last?.digest !== wanted.digest || when.kind === "schedule") return false;
  if (when.kind === "change") return true;
  return compareGenerations(last.generation, wanted.generation) >= 0;
}

function forgetOrder(wanted: Wanted, handle: unknown, spec: JobSpec, summary: string) {
  const order = orderOf(wanted.key.resourceId, "forget", inputFor(wanted, String(handle)));
  return { ...order, summary, msMax: endMsMax(spec) };
}

function forget(copy: Live): Step {
  const { resourceId, instanceId } = copy.key;
  const what = copy.phase === "running" ? "end and forget" : "forget";
  return {
    ...orderOf(resourceId, "forget", { instance: instanceId, handle: copy.handle }),
    id: `${resourceId}/forget/${copy.handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `${what} the old ${resourceId} (${copy.handle})`,
  };
}

function newHandle(wanted: Wanted, copies: readonly Live[]): string {
  const stem = stemOf(wanted);
  return `${stem}${nextNumber(
    stem,
    copies.map(({ handle }) => handle),
  )}`;
}

function inputFor(wanted: Wanted, handle: string): JsonObject {
  const { key, digest, generation } = wanted;
  const instance = key.instanceId;
  return { instance, handle, digest, generation: formatGeneration(generation) };
}

function orderOf(resourceId: string, verb: string, input: JsonObject): StepOrder {
  return { resourceId, kind: DRIVER_KIND, verb, input };
}
