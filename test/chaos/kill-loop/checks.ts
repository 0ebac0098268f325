/** What must hold after a round. Each gives what is wrong, in lines; none is well. */
import * as fs from "node:fs";
import { join } from "node:path";
import { AGENT_FLIGHT } from "../../../agent/src/flight.ts";
import { HUB_FLIGHT } from "../../../hub/src/flight.ts";
import { startTimeOf } from "../../../scripts/fleet/processes.ts";
import { type FlightPlan, replayFile, takeFlight } from "../../../shared/src/flight/commands.ts";
import { until } from "../../e2e/until.ts";
import { INSTANCES, type InstanceName } from "./plan.ts";
import { type Alive, workloadsOf } from "./processes.ts";
import {
  ACCOUNTS,
  billedRows,
  comparisonOf,
  FIRST_ROWS,
  journalRows,
  PLACES,
  type World,
} from "./world.ts";

const SETTLE_MS_MAX = 60_000;

export type Running = Readonly<Record<InstanceName, readonly Alive[]>>;

export function runningNow({ ids }: World): Running {
  return { "etl-free": workloadsOf(ids["etl-free"]), etl: workloadsOf(ids.etl) };
}

/** Nothing was asked of the quiet one, so that nothing may have happened to it. */
export async function untouched(
  world: World,
  quiet: InstanceName,
  before: Running,
): Promise<readonly string[]> {
  const gone = before[quiet].filter(({ pid, startTime }) => startTimeOf(pid) !== startTime);
  const wrong = gone.map(({ pid }) => `${quiet}: process ${pid} has gone, and nobody asked for it`);
  // A copy that is being replaced ends within its own time to stop.
  for (const name of INSTANCES) {
    await until(`one copy of ${name}`, () => runningNow(world)[name].length === 1).catch(() => {
      const pids = runningNow(world)[name].map(({ pid }) => pid);
      wrong.push(`${name}: ${pids.length} copies run (${pids.join(", ")}); 1 is wanted`);
    });
  }
  const now = runningNow(world)[quiet].map(({ pid }) => pid);
  const then = before[quiet].map(({ pid }) => pid);
  if (now.join() !== then.join()) wrong.push(`${quiet}: ran as ${then.join()}, now ${now.join()}`);
  return wrong;
}

export async function journalsEmpty(world: World): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const { cell } of Object.values(PLACES)) {
    await until(`the journal of ${cell}`, () => journalRows(world, cell) === 0).catch(() => {
      wrong.push(`agent of ${cell}: ${journalRows(world, cell)} rows in its journal; 0 are due`);
    });
  }
  return wrong;
}

/** Whatever was killed and frozen: the flights of hub and agents, and of their earlier lives, go the same way again. */
export function flightsSame({ fleet, home }: World): readonly string[] {
  const { hub } = fleet.layout;
  const agents = Object.values(PLACES).map(({ cell }) => fleet.layout.agent(cell).state);
  return [
    ...flightProblems(HUB_FLIGHT, hub.data, home),
    ...agents.flatMap((state) => flightProblems(AGENT_FLIGHT, state, home)),
  ];
}

function flightProblems(plan: FlightPlan, directory: string, home: string): readonly string[] {
  const taken = join(home, "flight.jsonl");
  fs.rmSync(taken, { force: true });
  takeFlight(fs, plan, directory, taken);
  const folder = plan.folderIn(directory);
  const incidents = fs.readdirSync(folder).filter((name) => /^incident-.*\.jsonl$/.test(name));
  return [taken, ...incidents.map((name) => join(folder, name))].flatMap((file) => {
    const lines: string[] = [];
    const code = replayFile(fs, plan, { file, print: (line) => void lines.push(line) });
    return code === 0 ? [] : [`${plan.program}, ${directory}: ${lines.at(-1)}`];
  });
}

/** With the sources at rest: every row copied once, and the hub bills exactly what the workloads counted. */
export async function exact(world: World): Promise<readonly string[]> {
  const { fleet } = world;
  await Promise.all([fleet.stopSource("free"), fleet.stopSource("pro")]);
  const wrong: string[] = [];
  const counted: Record<string, number> = {};
  for (const name of INSTANCES) {
    await until(
      `all rows of ${name} are copied`,
      async () => {
        return (await comparisonOf(world, name)).isComplete;
      },
      SETTLE_MS_MAX,
    ).catch(() => undefined);
    const { differences, isComplete, isExact, seats, pending } = await comparisonOf(world, name);
    if (!isExact) wrong.push(`${name}: ${differences.join("; ")}`);
    if (!isComplete) wrong.push(`${name}: ${pending} rows are not copied`);
    for (const [seat, each] of Object.entries(seats)) counted[seat] = each.counted;
  }
  const wanted = shown(counted);
  await until(
    "the ledger",
    async () => shown(await billedRows(fleet)) === wanted,
    SETTLE_MS_MAX,
  ).catch(async () => wrong.push(`ledger: ${shown(await billedRows(fleet))}; counted: ${wanted}`));
  fleet.startSource("free", ACCOUNTS.free, FIRST_ROWS);
  fleet.startSource("pro", ACCOUNTS.pro, FIRST_ROWS);
  return wrong;
}

function shown(rows: Readonly<Record<string, number>>): string {
  return Object.entries(rows)
    .filter(([, count]) => count > 0)
    .map(([seat, count]) => `${seat} ${count}`)
    .sort()
    .join(", ");
}
