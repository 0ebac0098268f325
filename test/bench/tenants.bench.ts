/**
 * Fifty tenants with three files each, created, changed and checked for drift by the agent's engine, one after the other,
 * and beside it by plain terraform with three `terraform_data` for each tenant, in turns so that both meet the same
 * neighbours. The agent writes real files, journals each step with an fsync, and finds what somebody changed in a file of
 * each tenant; terraform notes values in a state file and finds nothing changed.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Live } from "@holdfast/agent/src/drivers/driver.ts";
import { driftOf } from "@holdfast/agent/src/drivers/file/drift.ts";
import { plannedOf } from "@holdfast/agent/src/reconcile/rendering.ts";
import * as attempts from "@holdfast/agent/src/store/attempts.ts";
import { instanceId, openSite, type Release, type Site } from "./apply/site.ts";
import { type BenchResult, machine, quantile, rounded } from "./figures.ts";
import { type Cost, findTerraform, Terraform } from "./tenants/terraform.ts";

const TENANTS = Number(process.env["HOLDFAST_BENCH_TENANTS"] ?? 50);
const FILES = 3;
/** As an agent looks by itself. */
const INTERVAL_MS = 1_000;

const PHASES = ["create", "change", "drift"] as const;
type Phase = (typeof PHASES)[number];
type Side = Readonly<Record<Phase, (tenant: number) => Promise<Cost>>>;
type Costs = Record<Phase, Cost[]>;

export async function bench(): Promise<BenchResult> {
  const binary = findTerraform();
  const site = openSite({ intervalMs: INTERVAL_MS });
  try {
    const native = nativeSide(site);
    const other =
      binary === undefined ? undefined : new Terraform(binary, join(site.stateDir, "terraform"));
    const all = Array.from({ length: TENANTS }, (_, n) => n + 1);
    await other?.prepare(all, FILES);
    const ours = costs();
    const theirs = costs();
    for (const phase of PHASES) {
      for (const tenant of all) {
        ours[phase].push(await native[phase](tenant));
        if (other !== undefined) theirs[phase].push(await terraformSide(other)[phase](tenant));
      }
    }
    return resultOf(ours, binary === undefined ? undefined : theirs);
  } finally {
    await site.end();
  }
}

function resultOf(ours: Costs, theirs: Costs | undefined): BenchResult {
  const median = (of: Costs, phase: Phase, what: keyof Cost) =>
    quantile(
      of[phase].map((cost) => cost[what]),
      0.5,
    );
  const named = (name: string, of: Costs) =>
    Object.fromEntries(
      PHASES.flatMap((phase) => [
        [`${name}_${phase}_ms`, rounded(median(of, phase, "wallMs"))],
        [`${name}_${phase}_cpu_ms`, rounded(median(of, phase, "cpuMs"))],
      ]),
    );
  const worst = (what: keyof Cost, of: Costs) =>
    Math.max(...PHASES.map((phase) => median(ours, phase, what) / median(of, phase, what)));
  return {
    name: "tenants",
    machine: {
      ...{ ...machine(), tenants: TENANTS, files_per_tenant: FILES },
      terraform: theirs === undefined ? "not on the PATH: no ratio" : "beside",
    },
    figures: named("native", ours),
    yardsticks: theirs === undefined ? {} : named("terraform", theirs),
    ratios:
      theirs === undefined
        ? {}
        : {
            native_vs_terraform: rounded(worst("wallMs", theirs)),
            native_vs_terraform_cpu: rounded(worst("cpuMs", theirs)),
          },
  };
}

function costs(): Costs {
  return { create: [], change: [], drift: [] };
}

function terraformSide(terraform: Terraform): Side {
  return {
    create: (tenant) => terraform.apply(tenant, 1),
    change: (tenant) => terraform.apply(tenant, 2),
    drift: (tenant) => terraform.plan(tenant, 2),
  };
}

function nativeSide(site: Site): Side {
  const bring = (number: number) => {
    const release = site.publish(releaseOf(number));
    return (tenant: number) =>
      costOf(async () => {
        await site.offer(instanceId(tenant), number, release);
        await site.committed(instanceId(tenant), number);
      });
  };
  return {
    create: bring(1),
    change: bring(2),
    drift: async (tenant) => {
      const changed = changeByHand(site, tenant);
      let found: readonly string[] = [];
      const cost = await costOf(async () => {
        found = await driftedFiles(site, tenant);
      });
      if (found.join() !== changed) throw new Error(`found ${found.join()}, not ${changed}`);
      return cost;
    },
  };
}

function releaseOf(number: number): Release {
  const resources = Array.from({ length: FILES }, (_, n) => ({
    id: `file-${n}`,
    kind: "file",
    spec: { path: `etc/file-${n}.json`, content: `{"release": ${number}, "file": ${n}}\n` },
  }));
  return { number, resources };
}

/** As somebody would who is in a hurry. */
function changeByHand(site: Site, tenant: number): string {
  const { run } = site.context.directories(instanceId(tenant));
  const path = join(run, "../files/etc/file-1.json");
  writeFileSync(path, '{"by": "hand"}\n');
  return path;
}

/** Paths of those whose content, mode or owner is not as it was applied. */
async function driftedFiles({ engine, store }: Site, tenant: number) {
  const lives = await engine.snapshots.freshOf(instanceId(tenant), "file");
  const isDrifted = (live: Live) => {
    const rendering = attempts.findRendering(store, live.key.instanceId, live.digest);
    if (rendering === undefined) throw new Error(`no rendering of ${live.handle}`);
    return (
      driftOf(
        live,
        plannedOf(rendering, live.key.instanceId, () => ""),
      ).length > 0
    );
  };
  return lives.filter(isDrifted).map(({ outputs }) => String(outputs["path"]));
}

async function costOf(work: () => Promise<void>): Promise<Cost> {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: performance.now() - startedAt, cpuMs: (user + system) / 1_000 };
}
