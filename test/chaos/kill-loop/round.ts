/** Runs one round: the plan, the healing, and the wait until everything is as it was asked for. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { running } from "../../../scripts/fleet/processes.ts";
import { parseOrder } from "../../../sim/src/break/conditions.ts";
import { until } from "../../e2e/until.ts";
import {
  type Action,
  describeAction,
  INSTANCES,
  type InstanceName,
  type Plan,
  type Wish,
} from "./plan.ts";
import { type Alive, alive, databaseOf, postmasterOf, signal, workloadsOf } from "./processes.ts";
import type { Supervisor } from "./supervisor.ts";
import { type GenerationView, type InstanceView, manifestOf, viewOf, type World } from "./world.ts";

const ACCEPT_MS_MAX = 30_000;
/** A release that never gets ready is waited for 15 s; a hub that was away for long is tried again at most 10 s later. */
const CONVERGE_MS_MAX = 90_000;
/** Of the command line, whose hub may be frozen or dead meanwhile. */
const CHANGES_AT_ONCE_MAX = 2;

export type RoundDeps = Readonly<{
  world: World;
  supervisor: Supervisor;
  say(line: string): void;
}>;

/** Returns when the busy instance is at its newest generation, or was returned from it as designed. */
export async function runRound(deps: RoundDeps, plan: Plan): Promise<void> {
  const startedAt = systemClock.monotonic();
  const lasting: Promise<void>[] = [];
  let changing = 0;
  for (const { atMs, action } of plan.actions) {
    const waitMs = startedAt + atMs - systemClock.monotonic();
    if (waitMs > 0) await systemClock.sleep(waitMs);
    if (action.kind === "change") {
      if (changing >= CHANGES_AT_ONCE_MAX) continue;
      changing += 1;
      const change = applied(deps, plan.busy, action.wish).finally(() => {
        changing -= 1;
      });
      lasting.push(change.then(() => undefined));
    }
    deps.say(describeAction(action));
    lasting.push(act(deps, plan, action));
  }
  await Promise.all(lasting);
  await heal(deps);
  await converge(deps, plan);
}

async function act({ world, supervisor, say }: RoundDeps, plan: Plan, action: Action) {
  switch (action.kind) {
    case "change":
      return;
    case "kill": {
      const { target, downMs, signal: name } = action;
      if (target !== "database") supervisor.delay(target, downMs);
      const [first] = targetsOf(world, target);
      if (first === undefined) say(`${target} is down already`);
      else signal(first, name);
      return;
    }
    case "kill-workload":
      for (const each of workloadsOf(world.ids[plan.busy])) signal(each, "SIGKILL");
      return;
    case "freeze":
      await frozen(targetsOf(world, action.target), action.forMs);
      return;
    case "network":
      for (const proxy of world.proxies) {
        for (const order of action.orders) proxy.order(parseOrder(order));
      }
      return;
    case "unplug":
      if (world.cable === undefined) return;
      world.cable.plug(false);
      await systemClock.sleep(action.forMs);
      world.cable.plug(true);
      return;
  }
}

type Target = Extract<Action, { kind: "freeze" }>["target"];

function targetsOf({ fleet, ids }: World, target: Target): readonly Alive[] {
  switch (target) {
    case "etl":
    case "etl-free":
      return workloadsOf(ids[target]);
    case "database": {
      const postmaster = postmasterOf(fleet.layout.hub.data);
      return postmaster === undefined ? [] : databaseOf(fleet.layout.hub.data);
    }
    default: {
      const known = running(fleet.layout.processes, target);
      const process = known === undefined ? undefined : alive(known.pid);
      return process === undefined ? [] : [process];
    }
  }
}

async function frozen(targets: readonly Alive[], forMs: number): Promise<void> {
  for (const each of targets) signal(each, "SIGSTOP");
  await systemClock.sleep(forMs);
  for (const each of targets) signal(each, "SIGCONT");
}

/** The network is whole, nobody is frozen, hub and agents run. */
async function heal({ world, say }: RoundDeps): Promise<void> {
  say("heal");
  for (const proxy of world.proxies) proxy.order({ kind: "clear" });
  world.cable?.plug(true);
  const all: readonly Target[] = [
    "hub",
    "database",
    "agent-hosted",
    "agent-byoa",
    "etl",
    "etl-free",
  ];
  for (const target of all) for (const each of targetsOf(world, target)) signal(each, "SIGCONT");
  await until("the API answers", () => viewOf(world.fleet, "etl-free"), ACCEPT_MS_MAX);
}

/** False where the hub could not be asked, or gave no answer: the change may be made all the same. */
async function applied({ world, say }: RoundDeps, name: InstanceName, wish: Wish) {
  const { fleet } = world;
  const { code, stderr } = await fleet.tryCli(["apply", "-f", "-"], manifestOf(fleet, name, wish));
  if (code !== 0) say(`apply ended with ${code}: ${stderr.split("\n")[0]}`);
  return code === 0;
}

async function converge(deps: RoundDeps, { busy, final, failsAfterwards }: Plan): Promise<void> {
  const { world } = deps;
  await reached(deps, busy, final, "ATTEMPT_STATE_COMMITTED");
  if (!failsAfterwards) return;
  await until(`one copy of ${busy}`, () => workloadsOf(world.ids[busy]).length === 1);
  const before = workloadsOf(world.ids[busy]);
  await reached(deps, busy, { ...final, release: "1.2.0" }, "ATTEMPT_STATE_RETURNED");
  await until("the failed copy is gone", () => workloadsOf(world.ids[busy]).length === 1);
  const after = workloadsOf(world.ids[busy]);
  if (before[0]?.pid === after[0]?.pid && before[0]?.startTime === after[0]?.startTime) return;
  throw new Error(`${busy}: served as ${before[0]?.pid}; after a failed attempt ${after[0]?.pid}`);
}

/** The wish is accepted and its attempt has ended like that, and both instances are well. */
async function reached(
  deps: RoundDeps,
  busy: InstanceName,
  wish: Wish,
  state: "ATTEMPT_STATE_COMMITTED" | "ATTEMPT_STATE_RETURNED",
): Promise<void> {
  const { world, say } = deps;
  say(`last wish: ${describeAction({ kind: "change", wish })}`);
  await until("the wish is accepted", () => applied(deps, busy, wish), ACCEPT_MS_MAX);
  await until(
    `${busy} at its newest generation: ${state}; both well`,
    async () => {
      const views = await Promise.all(INSTANCES.map((name) => viewOf(world.fleet, name)));
      const newest = views.find(({ metadata }) => metadata.id === world.ids[busy]);
      const isReached = newest?.status?.attempt?.state === state;
      return isReached && views.every((view) => isSettled(view) && isWell(view));
    },
    CONVERGE_MS_MAX,
  );
}

/** Its newest generation serves, or an attempt at exactly that one was returned from. */
export function isSettled({ status }: InstanceView): boolean {
  const { generation, observedGeneration, committedGeneration, attempt } = status ?? {};
  if (!isSame(generation, observedGeneration)) return false;
  if (isSame(generation, committedGeneration)) return true;
  return attempt?.state === "ATTEMPT_STATE_RETURNED" && isSame(attempt.generation, generation);
}

function isSame(a: GenerationView | undefined, b: GenerationView | undefined): boolean {
  return a !== undefined && a.incarnation === b?.incarnation && a.number === b?.number;
}

function isWell({ status }: InstanceView): boolean {
  return ["Connected", "Ready", "Healthy", "Metered"].every((type) =>
    status?.conditions?.some((each) => each.type === type && each.status === "True"),
  );
}
