/** Processor time of a fleet in which nothing changes: hub, agents with one instance each, database, workloads. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { type BenchResult, type Figures, machine, rounded } from "./figures.ts";
import { withFleet } from "./fleet.ts";
import { fieldsOf } from "./processor.ts";

/** Caches fill and compilers rest before it counts. */
const SETTLE_MS = 10_000;
const MEASURED_MS = 60_000;
const TICKS_PER_SECOND = 100;
/** The agent's own default. */
const SAMPLE_WINDOW_MS = 60_000;

type Groups = Readonly<Record<string, readonly number[]>>;

export function bench(): Promise<BenchResult> {
  return withFleet({ logLevel: "info", sampleWindowMs: SAMPLE_WINDOW_MS }, async (fleet) => {
    const groups = groupsOf(fleet);
    await sleep(SETTLE_MS);
    const before = ticksOf(groups);
    const busyBefore = machineTicks();
    const startedAt = performance.now();
    await sleep(MEASURED_MS);
    const seconds = (performance.now() - startedAt) / 1_000;
    const after = ticksOf(groups);
    const percent = (ticks: number) => rounded((ticks / TICKS_PER_SECOND / seconds) * 100);
    const figures: Figures = Object.fromEntries(
      Object.entries(groups).map(([name, pids]) => [
        `${name}_cpu_percent_of_a_core`,
        percent(pids.reduce((sum, pid) => sum + usedBy(pid, before, after), 0)),
      ]),
    );
    const yardsticks = { machine_cpu_percent_of_a_core: percent(machineTicks() - busyBefore) };
    return { name: "idle", machine: machine(), figures, yardsticks, ratios: {} };
  });
}

/** Pids by part: the agents' workloads are told by their marks, the database by its parent. */
function groupsOf(fleet: Fleet): Groups {
  const { layout } = fleet;
  const pidOf = (name: string): number =>
    JSON.parse(readFileSync(join(layout.processes, `${name}.json`), "utf8")).pid;
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const marked = (text: string, file: string) =>
    pids.filter((pid) => readOr(`/proc/${pid}/${file}`).includes(text));
  const postmaster = marked(layout.hub.data, "cmdline").filter((pid) =>
    readOr(`/proc/${pid}/comm`).startsWith("postgres"),
  );
  const backends = pids.filter((pid) => postmaster.includes(parentOf(pid)));
  return {
    hub: [pidOf("hub")],
    agent_hosted: [pidOf("agent-hosted")],
    agent_byoa: [pidOf("agent-byoa")],
    database: [...postmaster, ...backends],
    workloads: marked(`HOLDFAST_AGENT_STATE=${layout.home}`, "environ"),
  };
}

function parentOf(pid: number): number {
  return Number(fieldsOf(readOr(`/proc/${pid}/stat`))[1] ?? 0);
}

type Ticks = ReadonlyMap<number, number>;

function ticksOf(groups: Groups): Ticks {
  return new Map(
    Object.values(groups)
      .flat()
      .flatMap((pid) => {
        const fields = fieldsOf(readOr(`/proc/${pid}/stat`));
        return fields.length < 20 ? [] : [[pid, Number(fields[11]) + Number(fields[12])] as const];
      }),
  );
}

/** The database ends connections that nobody uses; what those used until then is not known. */
function usedBy(pid: number, before: Ticks, after: Ticks): number {
  const end = after.get(pid);
  return end === undefined ? 0 : end - (before.get(pid) ?? 0);
}

/** Of all programs on this machine: what the neighbours did meanwhile. */
function machineTicks(): number {
  const [, user, nice, system] = readOr("/proc/stat").split("\n")[0]?.trim().split(/\s+/) ?? [];
  return Number(user) + Number(nice) + Number(system);
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
