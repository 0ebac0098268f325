/**
 * The end of an instance, as its tombstone says: an attempt with steps and a journal whose only way is forward. What
 * needs others ends before them, then whatever the drivers still find goes, then the hub must have the usage up to the
 * last reading; only then is the instance gone. Planned anew from what is there at each pass, so that a crash at any
 * point is gone on from. Data stays.
 */
import { rm } from "node:fs/promises";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Live, Step, StepOutcome } from "../drivers/driver.ts";
import { outputFolder } from "../output/outputs.ts";
import type { AttemptRecord } from "../store/attempts.ts";
import * as attempts from "../store/attempts.ts";
import type { Hold } from "./decide.ts";
import { markIn, type UsageMark, waitingFor } from "./last-usage.ts";
import { outputsFile } from "./published.ts";
import { AttemptRun } from "./run.ts";
import {
  copiesOf,
  driverOf,
  Interrupted,
  outside,
  plannedCommitted,
  STEP_MS_MAX,
  type Work,
  within,
} from "./work.ts";

/** What the loop keeps between passes. A restart begins it anew, which only does a part of the work twice. */
export type RemovalState = {
  /** Measured while all still ran. */
  isMeasured: boolean;
  /** Nothing of it is left, and what was read last is written down. */
  isEnded: boolean;
  mark: UsageMark | undefined;
};

export function newRemoval(): RemovalState {
  return { isMeasured: false, isEnded: false, mark: undefined };
}

/** What must be confirmed before the instance is gone, with what it waits for. */
export type Finalizer = Readonly<{ name: "workloads" | "usage" }> & Hold;

export const USAGE_UNREPORTED = "USAGE_UNREPORTED";

export function finalizersOf({ isEnded }: RemovalState, hold: Hold | undefined) {
  const usage = (reason: string, message: string): Finalizer => ({
    name: "usage",
    reason,
    message,
  });
  if (isEnded) return [usage(hold?.reason ?? USAGE_UNREPORTED, hold?.message ?? USAGE_WAITS)];
  const waits = hold ?? { reason: "REMOVING", message: "its workloads are being ended" };
  return [
    { name: "workloads", ...waits } as const,
    usage("AFTER_WORKLOADS", "the last readings come when the workloads have ended"),
  ];
}

const USAGE_WAITS = "the hub does not have the usage up to the last reading yet";

const NO_INPUT = { resourceId: "", kind: "", input: {}, when: "before-commit" } as const;
const DROP: Step = {
  ...{ ...NO_INPUT, id: "instance/drop", verb: "drop", class: "compensable" },
  summary: "remove what is left of its copies, with their logs; its data is kept",
};
const REPORT: Step = {
  ...{ ...NO_INPUT, id: "instance/report-usage", verb: "report", class: "reversible" },
  summary: "wait until the hub has its usage up to the last reading",
};

/** The drivers' steps, dependants first, and those of the engine itself. Rejects if a look failed. */
export async function planRemoval(work: Work): Promise<readonly Step[]> {
  return [...(await endingSteps(work)), DROP, REPORT];
}

/**
 * Goes on with the open attempt, or begins the one that `begin` makes. What it has to wait for; undefined: it is gone,
 * or something newer is wanted. Throws a Fault for what failed, to be tried again.
 */
export async function removeInstance(
  work: Work,
  state: RemovalState,
  begin: () => AttemptRecord,
): Promise<Hold | undefined> {
  const { store, instanceId, journal } = work;
  const last = attempts.find(store, instanceId);
  const isOpen = last !== undefined && last.phase !== "ENDED";
  const record = isOpen ? last : begin();
  if (!isOpen) journal.note(record);
  work.changed();
  const run = new AttemptRun(work, record, attempts.listJournal(store, instanceId));
  try {
    if (!state.isEnded) await end(run, state);
    run.safePoint();
    return await finish(run, state);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    if (error.kind !== "failed") return undefined;
    const { reason, message } = error;
    journal.note({ ...run.record, reason, message });
    throw new Fault("UNAVAILABLE", reason, message, { cause: error });
  } finally {
    await run.output.end();
  }
}

async function end(run: AttemptRun, state: RemovalState): Promise<void> {
  const { work } = run;
  const { usage, instanceId } = work;
  // What an endpoint of a workload counts can be read for as long as it runs, and not any longer.
  if (!state.isMeasured) await outside("measure", () => usage.measure(instanceId));
  state.isMeasured = true;
  for (const step of await outside("observe", () => endingSteps(work))) {
    await once(run, step, () => run.order(step, step.id));
  }
  await once(run, DROP, () => dropAll(work));
  await outside("measure", () => usage.measure(instanceId));
  state.isEnded = true;
}

async function finish(run: AttemptRun, state: RemovalState): Promise<Hold | undefined> {
  const { usage, journal, clock } = run.work;
  if (!isKnown(run, REPORT)) append(run, REPORT, "BEGUN");
  const stream = usage.stream();
  state.mark = markIn(state.mark, stream);
  if (waitingFor(state.mark, stream) > 0n) {
    return { reason: USAGE_UNREPORTED, message: USAGE_WAITS };
  }
  append(run, REPORT, "DONE");
  const reason = "REMOVED";
  journal.removed({
    ...{ ...run.record, phase: "ENDED", state: "COMMITTED", reason, message: "" },
    endedAt: clock.now(),
  });
  run.work.kept.ring();
  run.work.changed();
  return undefined;
}

/** What ends the copies that are there, of resources that were committed and of strays. */
async function endingSteps(work: Work): Promise<readonly Step[]> {
  const { drivers, store, instanceId, snapshots, clock } = work;
  const committed = attempts.findCommitted(store, instanceId);
  const lives = await ownLives(work);
  const named = (committed?.resources ?? []).toReversed().map(({ id, kind }) => ({ id, kind }));
  for (const { kind } of named) {
    if (!drivers.has(kind)) driverOf(work, kind);
  }
  const isNamed = ({ kind, live }: Found) =>
    named.some((each) => each.kind === kind && each.id === live.key.resourceId);
  const strays = new Map(
    lives
      .filter((found) => !isNamed(found))
      .map(({ kind, live }) => [
        `${kind}/${live.key.resourceId}`,
        { id: live.key.resourceId, kind },
      ]),
  );
  const steps: Step[] = [];
  for (const { id, kind } of [...strays.values(), ...named]) {
    const copies = copiesOf(await snapshots.of(instanceId, kind), instanceId, id);
    const last = plannedCommitted(work, committed, id, kind);
    steps.push(...driverOf(work, kind).steps(copies, last, undefined, clock.now()));
  }
  return steps;
}

type Found = Readonly<{ kind: string; live: Live }>;

async function ownLives({ drivers, snapshots, instanceId }: Work): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const kind of drivers.keys()) {
    const lives = await snapshots.freshOf(instanceId, kind);
    found.push(...lives.map((live) => ({ kind, live })));
  }
  return found;
}

/** Every driver, since what a crash has left is known to nobody else; then nothing may be there any more. */
async function dropAll(work: Work): Promise<StepOutcome> {
  const { drivers, instanceId, context, snapshots } = work;
  for (const [kind, driver] of drivers) {
    await within(work, STEP_MS_MAX, `drop ${kind}`, (bounded) => driver.drop(instanceId, bounded));
    snapshots.spoil(kind, instanceId);
  }
  const [left] = await ownLives(work);
  if (left !== undefined) {
    const message = `${left.live.handle}: still there after it was dropped`;
    throw new Fault("UNAVAILABLE", "STILL_THERE", message);
  }
  const { run, logs, seatsFile } = context.directories(instanceId);
  for (const path of [run, logs, seatsFile, outputsFile(seatsFile), outputFolder(run)]) {
    await rm(path, { recursive: true, force: true });
  }
  return {};
}

function isKnown({ entries }: AttemptRun, { id }: Step): boolean {
  return entries.some(({ step }) => step.id === id);
}

/** Journaled as it changes, however often it is tried: a removal that fails for a month must not fill the store. */
async function once(
  run: AttemptRun,
  step: Step,
  effect: () => Promise<StepOutcome>,
): Promise<void> {
  run.safePoint();
  const { clock, signal } = run.work;
  const known = run.entries.find((each) => each.step.id === step.id);
  if (known === undefined || known.state === "DONE") append(run, step, "BEGUN");
  const startedAt = clock.monotonic();
  const took = () => Math.round(clock.monotonic() - startedAt);
  try {
    const { message = "" } = await outside(step.id, effect);
    append(run, step, "DONE", message, took());
  } catch (error) {
    if (signal.aborted) throw new Interrupted("shutdown", "SHUTDOWN", "the agent ends");
    if (!(error instanceof Interrupted)) throw error;
    if (known?.state !== "FAILED") append(run, step, "FAILED", error.message, took());
    throw error;
  }
}

function append(
  run: AttemptRun,
  step: Step,
  state: "BEGUN" | "DONE" | "FAILED",
  message = "",
  durationMs = 0,
): void {
  const known = run.entries.find((each) => each.step.id === step.id);
  const position = known?.position ?? (run.entries.at(-1)?.position ?? -1) + 1;
  run.append({ position, state, step }, { message, durationMs });
}
