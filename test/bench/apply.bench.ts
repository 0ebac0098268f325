/**
 * What it costs the agent that nothing is to be done: one pass over 1,000 instances with four files and one process each,
 * all really there. And what a journal step costs beside the disk's own fsync, since each is on the disk before the next.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Driver } from "@holdfast/agent/src/drivers/driver.ts";
import type { Journal } from "@holdfast/agent/src/reconcile/journal.ts";
import { instanceId, openSite, type Release, type Site } from "./apply/site.ts";
import { type BenchResult, machine, quantile, rounded } from "./figures.ts";
import { fsyncMs } from "./yardsticks.ts";

const INSTANCES = Number(process.env["HOLDFAST_BENCH_INSTANCES"] ?? 1_000);
const FILES = 4;
/** Instances that are brought up at once. */
const AT_ONCE = 16;
const PASSES = 10;
/** Until memory is compared; the first ones fill what is kept between passes. */
const MEMORY_PASSES = 50;
const CHANGES = 40;
/** Long enough that a pass is over before the next one begins. */
const INTERVAL_MS = 3_000;
const MIB = 2 ** 20;

export async function bench(): Promise<BenchResult> {
  const passes = new Passes();
  const steps = new StepTimes();
  const site = openSite({
    intervalMs: INTERVAL_MS,
    driver: (inner) => passes.counted(inner),
    journal: (inner) => steps.timed(inner),
    passed: (id) => passes.passed(id),
  });
  try {
    const worker = sleeper();
    const release = site.publish(releaseOf(1, worker));
    await bringUp(site, release);
    const cpu: number[] = [];
    const looks: number[] = [];
    for (let n = 0; n < PASSES; n++) {
      const pass = await passes.next();
      cpu.push(pass.cpuMs);
      looks.push(pass.looksMost);
    }
    const before = heapMib();
    for (let n = 0; n < MEMORY_PASSES; n++) await passes.next(site);
    const after = heapMib();
    const { stepMs, diskMs } = await journalled(site, steps, worker);
    const [step, disk] = [quantile(stepMs, 0.5), quantile(diskMs, 0.5)];
    return {
      name: "apply",
      machine: { ...machine(), instances: INSTANCES, resources: INSTANCES * (FILES + 1) },
      figures: {
        noop_pass_1000_cpu_ms: rounded((quantile(cpu, 0.5) * 1_000) / INSTANCES),
        noop_pass_1000_cpu_worst_ms: rounded((Math.max(...cpu) * 1_000) / INSTANCES),
        looks_per_driver_and_pass: Math.max(...looks),
        heap_mib: rounded(after),
        heap_growth_mib_per_50_passes: rounded(after - before),
        journal_step_ms: rounded(step),
        journal_step_p95_ms: rounded(quantile(stepMs, 0.95)),
      },
      yardsticks: { fsync_ms: rounded(disk), fsync_p95_ms: rounded(quantile(diskMs, 0.95)) },
      ratios: {
        noop_pass_vs_limit: rounded(quantile(cpu, 0.5) / INSTANCES),
        journal_step_vs_limit: rounded(step / (3 * disk + 1)),
      },
    };
  } finally {
    await site.end();
  }
}

function releaseOf(number: number, worker: Uint8Array): Release {
  const files = Array.from({ length: FILES }, (_, n) => ({
    id: `file-${n}`,
    kind: "file",
    spec: { path: `etc/file-${n}.json`, content: `{"release": ${number}, "file": ${n}}\n` },
  }));
  const process = {
    ...{ id: "worker", kind: "process", dependsOn: ["file-0"] },
    spec: { artefact: "worker", argv: ["worker", "86400"], stop: { graceMs: 1_000 } },
  };
  return { number, resources: [...files, process], artefacts: new Map([["worker", worker]]) };
}

/** A program that does nothing, as an artefact. */
function sleeper(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-apply-"));
  try {
    copyFileSync("/bin/sleep", join(folder, "worker"));
    return execFileSync("tar", ["-C", folder, "-cf", "-", "worker"], { maxBuffer: 64 * MIB });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function bringUp(site: Site, release: ReturnType<Site["publish"]>): Promise<void> {
  let next = 1;
  const worker = async () => {
    for (let n = next++; n <= INSTANCES; n = next++) {
      await site.offer(instanceId(n), 1, release);
      await site.committed(instanceId(n), 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** One change after the other of one instance, and between them what the disk alone takes. */
async function journalled(site: Site, steps: StepTimes, worker: Uint8Array) {
  const diskMs: number[] = [];
  steps.clear();
  for (let n = 2; n < 2 + CHANGES; n++) {
    const release = site.publish(releaseOf(n, worker));
    await site.offer(instanceId(1), n, release);
    await site.committed(instanceId(1), n);
    for (let at = 0; at < FILES + 1; at++) diskMs.push(fsyncMs(site.stateDir));
  }
  return { stepMs: steps.perStep(), diskMs };
}

/** Processor time of this process while each instance is looked after once, and how often each driver looked. */
class Passes {
  #left = new Set<string>();
  #done: () => void = () => undefined;
  readonly #looks = new Map<string, number>();

  passed(id: string): void {
    if (this.#left.delete(id) && this.#left.size === 0) this.#done();
  }

  counted(inner: Driver): Driver {
    return {
      ...inner,
      observe: (context, scope) => {
        this.#looks.set(inner.kind, (this.#looks.get(inner.kind) ?? 0) + 1);
        return inner.observe(context, scope);
      },
    };
  }

  /** The next one as it comes by itself, or at once where a site is given. */
  async next(site?: Site): Promise<Readonly<{ cpuMs: number; looksMost: number }>> {
    this.#looks.clear();
    this.#left = new Set(Array.from({ length: INSTANCES }, (_, n) => instanceId(n + 1)));
    const done = new Promise<void>((resolve) => {
      this.#done = resolve;
    });
    const before = process.cpuUsage();
    site?.engine.wakeAll();
    await done;
    const { user, system } = process.cpuUsage(before);
    return { cpuMs: (user + system) / 1_000, looksMost: Math.max(...this.#looks.values()) };
  }
}

/** How long the writes of each step took: begun, and done. */
class StepTimes {
  readonly #ms = new Map<string, number>();

  clear(): void {
    this.#ms.clear();
  }

  perStep(): readonly number[] {
    return [...this.#ms.values()];
  }

  timed(inner: Journal): Journal {
    return {
      ...inner,
      append: (attempt, entry, at) => {
        const startedAt = performance.now();
        inner.append(attempt, entry, at);
        const key = `${attempt.instanceId}/${attempt.id}/${entry.position}`;
        this.#ms.set(key, (this.#ms.get(key) ?? 0) + performance.now() - startedAt);
      },
    };
  }
}

function heapMib(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed / MIB;
}
