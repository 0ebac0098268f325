/**
 * The kill loop: a real fleet under constant change, in which programs are killed and frozen and the network is bad, by
 * a plan that a seed repeats. After each round everything has to be as it was asked for, usage exact, and no workload
 * touched without a cause. The first round that fails ends it, and leaves logs and states behind.
 */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { exact, flightsSame, journalsEmpty, runningNow, untouched } from "./checks.ts";
import { INSTANCES, planRound } from "./plan.ts";
import { processesOf, workloadsOf } from "./processes.ts";
import { runRound } from "./round.ts";
import { Supervisor } from "./supervisor.ts";
import { billedRows, endWorld, startWorld, viewOf, type World } from "./world.ts";

export type LoopOptions = Readonly<{
  seed: number;
  rounds: number;
  /** Of trouble in one round; healing and waiting come on top. */
  roundMs: number;
  portsFrom: number;
  /** Where a failure leaves what it was. */
  failures: string;
  /** No round begins later than this, from the start of the loop. */
  beginMsMax: number;
  /** Ends the loop in order, in the middle of a round too. */
  signal: AbortSignal;
  /** Lines for people. */
  say(line: string): void;
}>;

export type LoopResult = Readonly<{
  seed: number;
  /** Rounds that went well. */
  passed: number;
  /** What was wrong; empty if nothing was. */
  problems: readonly string[];
  /** Where logs and states are, if something was wrong. */
  left: string | undefined;
}>;

export async function runLoop(options: LoopOptions): Promise<LoopResult> {
  const { seed, rounds, failures, beginMsMax, signal } = options;
  const startedAt = systemClock.monotonic();
  const isTime = () => systemClock.monotonic() - startedAt < beginMsMax && !signal.aborted;
  const home = mkdtempSync(join(tmpdir(), "holdfast-kill-loop-"));
  const story = storyIn(home, options.say);
  const result = { passed: 0, problems: [] as string[] };
  let world: World | undefined;
  try {
    world = await startWorld(home, options.portsFrom, seed, story.note);
    story.tell(`the fleet is up; seed ${seed}`);
    for (let round = 1; round <= rounds && result.problems.length === 0 && isTime(); round++) {
      const work = oneRound(world, round, options, story);
      result.problems.push(...(await Promise.race([work, interrupted(signal)])));
      if (result.problems.length === 0) result.passed += 1;
    }
    if (result.problems.length > 0) await noteState(world, home);
  } catch (error) {
    result.problems.push(causesOf(error));
    if (world !== undefined) await noteState(world, home);
  }
  // What failed is kept as it is now: the end of the fleet writes into the same files.
  const left = result.problems.length === 0 ? undefined : keep(home, failures, seed);
  if (world !== undefined) result.problems.push(...(await endProblems(world)));
  rmSync(home, { recursive: true, force: true });
  for (const problem of result.problems) story.tell(`WRONG ${problem}`);
  return { seed, ...result, left };
}

function interrupted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(new Error("interrupted in the middle of a round"));
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}

type Story = Readonly<{
  /** Into the story alone. */
  note(line: string): void;
  /** To people too. */
  tell(line: string): void;
}>;

function storyIn(home: string, say: (line: string) => void): Story {
  const startedAt = systemClock.monotonic();
  const note = (line: string) => {
    const seconds = ((systemClock.monotonic() - startedAt) / 1_000).toFixed(3).padStart(9);
    const told = `${new Date(systemClock.now()).toISOString()} ${seconds}s  ${line}`;
    try {
      appendFileSync(join(home, "story.log"), `${told}\n`);
    } catch {
      // The directory has gone; the line is for people then.
    }
    return told;
  };
  return { note: (line) => void note(line), tell: (line) => say(note(line)) };
}

async function oneRound(
  world: World,
  round: number,
  { seed, roundMs }: LoopOptions,
  { note, tell }: Story,
): Promise<readonly string[]> {
  const plan = planRound(seed, round, roundMs);
  const before = runningNow(world);
  note(
    `round ${round}: ${plan.quiet} is left in peace as ${before[plan.quiet].map(({ pid }) => pid)}`,
  );
  const supervisor = new Supervisor(world, note);
  try {
    await runRound({ world, supervisor, say: note }, plan);
    const problems = [
      ...(await untouched(world, plan.quiet, before)),
      ...(await exact(world)),
      ...(await journalsEmpty(world)),
      ...flightsSame(world),
    ];
    tell(`round ${round}: ${plan.actions.length} troubles, ${problems.length} problems`);
    return problems;
  } finally {
    await supervisor.stop();
  }
}

/** Ends the fleet; nothing of it may run on. */
async function endProblems(world: World): Promise<readonly string[]> {
  const problems: string[] = [];
  await endWorld(world).catch((error: unknown) => problems.push(`the end: ${causesOf(error)}`));
  const left = [
    ...processesOf(world.home),
    ...INSTANCES.flatMap((name) => workloadsOf(world.ids[name])),
  ];
  if (left.length > 0) problems.push(`processes run on: ${left.map(({ pid }) => pid).join(", ")}`);
  return problems;
}

async function noteState(world: World, home: string): Promise<void> {
  const state = {
    running: runningNow(world),
    instances: await Promise.all(
      INSTANCES.map((name) => viewOf(world.fleet, name).catch((error) => causesOf(error))),
    ),
    billed: await billedRows(world.fleet).catch((error) => causesOf(error)),
  };
  writeFileSync(join(home, "state.json"), `${JSON.stringify(state, undefined, 2)}\n`);
}

/** Story, logs, configuration, the agents' stores and all flights; no database, no data of workloads, no secrets. */
function keep(home: string, failures: string, seed: number): string {
  const folder = join(failures, `kill-loop-${seed}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFiles(home, folder);
  return folder;
}

const LEFT_OUT =
  /^(tokens|blobs|pgdata|artefacts|data|secrets|node_modules)$|\.(pem|key|lock)$|^hub\.key/;

/** Files only: sockets stay, and what goes away meanwhile is not missed. */
function copyFiles(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (LEFT_OUT.test(entry.name)) continue;
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyFiles(source, target);
    else if (entry.isFile() && existsSync(source)) copyFileSync(source, target);
  }
}

function causesOf(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && parts.length < 5; ) {
    parts.push(at instanceof Error ? at.message : String(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(": ");
}
