/**
 * What a copy has used, with all of its processes: processor time and uptime as the kernel counts them, memory as the
 * integral of MiB over time, which is added up here. All three only grow. What was measured last is kept beside the record,
 * so that nothing is lost when copy, agent or both end; the last values of ended copies stay in a file of the
 * instance until the metering has them.
 */
import { join } from "node:path";
import type { DriverContext, DriverReading, JsonObject, JsonValue } from "../driver.ts";
import { endedReadings } from "../ended.ts";
import { kindOf } from "../handles.ts";
import { objectOf, readJson, replaceJson } from "../json-file.ts";
import { type GroupUsage, usageOf } from "./cgroup.ts";
import type { Copy } from "./copies.ts";
import { type ProcessEntry, readProcess, residentKib, ticksToMs, uptimeMs } from "./proc.ts";
import type { ProcessIdentity } from "./record.ts";
import { type Basis, SEEN_PROCESSES_MAX, type SeenProcess, spentMs } from "./spent.ts";

export const COUNTERS = ["cpu_ms", "uptime_s", "memory_mib_s"] as const;

type Meter = Readonly<{
  /** Of the counters that the kernel keeps: boot id, pid and start. */
  source: string;
  /** Of the memory, which starts at 0 if its sum was lost while the process lived. */
  memorySource: string;
  /** Not rounded, so that small parts of many samples are not lost. */
  cpuMs: number;
  /** Of the last sample. */
  basis?: Basis;
  uptimeMs: number;
  /** KiB times ms; beyond 2^53 after a day of some 100 GiB, hence text of an integer. */
  memoryKibMs: string;
  residentKib: number;
  /** ms since boot of the last sample. */
  sampledUptimeMs: number;
  /** Its last values are in the file of the ended. */
  ended: boolean;
}>;

const KIB_MS_PER_MIB_S = 1024n * 1000n;

/** At the start of a process, so that its memory counts from the first moment. */
export function beginMeter(runDir: string, process: ProcessIdentity): void {
  const source = sourceOf(process);
  const startedMs = ticksToMs(process.startTicks);
  replaceJson(join(runDir, "meter.json"), freshMeter(source, source, startedMs));
}

function freshMeter(source: string, memorySource: string, sampledUptimeMs: number): Meter {
  const nothing = { cpuMs: 0, uptimeMs: 0, memoryKibMs: "0", residentKib: 0, ended: false };
  return { source, memorySource, sampledUptimeMs, ...nothing };
}

function sourceOf({ bootId, pid, startTicks }: ProcessIdentity): string {
  return `${bootId}:${pid}:${startTicks}`;
}

/** Measures a copy that runs and writes it down. undefined if it has ended meanwhile. */
export function sampleMeter(procDir: string, copy: Copy): Meter | undefined {
  const { process, runDir } = copy;
  if (process === undefined) return undefined;
  // Parents first: a child that is waited for in between is missed once, never counted twice.
  const members = copy.members.flatMap(({ pid, startTicks }) => {
    const entry = readProcess(procDir, pid);
    return entry?.startTicks === startTicks && !entry.ended ? [entry] : [];
  });
  if (!members.some(({ pid }) => pid === process.pid)) return undefined;
  const now = uptimeMs(procDir);
  const source = sourceOf(process);
  const kept = readMeter(runDir);
  const before = kept?.source === source ? kept : freshMeter(source, `${source}:${now}`, now);
  const usage = usageOf(copy.record?.groups ?? {});
  const resident =
    usage.memoryKib ?? members.reduce((sum, { pid }) => sum + residentKib(procDir, pid), 0);
  const elapsed = Math.max(0, now - before.sampledUptimeMs);
  const first = before.residentKib === 0 ? resident : before.residentKib;
  const area = BigInt(Math.round(((first + resident) / 2) * elapsed));
  const next: Meter = {
    ...withCpu(before, basisOf(usage, members)),
    uptimeMs: Math.max(before.uptimeMs, now - Math.round(ticksToMs(process.startTicks))),
    memoryKibMs: String(BigInt(before.memoryKibMs) + area),
    residentKib: resident,
    sampledUptimeMs: now,
  };
  replaceJson(join(runDir, "meter.json"), next);
  return next;
}

function basisOf({ cpuUs }: GroupUsage, members: readonly ProcessEntry[]): Basis {
  if (cpuUs !== undefined) return { kind: "group", ms: cpuUs / 1_000 };
  const seen = members.map(({ pid, startTicks, ownTicks, childTicks }) => ({
    id: `${pid}:${startTicks}`,
    ownMs: ticksToMs(ownTicks),
    childrenMs: ticksToMs(childTicks),
  }));
  return { kind: "processes", seen };
}

function withCpu(before: Meter, basis: Basis): Meter {
  const { basis: last, ...rest } = before;
  const next = { ...rest, cpuMs: spentMs(before.cpuMs, last, basis) };
  const isLarge = basis.kind === "processes" && basis.seen.length > SEEN_PROCESSES_MAX;
  return isLarge ? next : { ...next, basis };
}

/** A control group still knows what its processes used since the last sample, although they have ended. */
function lastOf(meter: Meter, copy: Copy): Meter {
  const { cpuUs } = usageOf(copy.record?.groups ?? {});
  return cpuUs === undefined ? meter : withCpu(meter, { kind: "group", ms: cpuUs / 1_000 });
}

export function readingsOf(
  copy: Pick<Copy, "key">,
  meter: Meter,
  at: number,
): readonly DriverReading[] {
  return Object.entries(valuesOf(meter)).map(([counter, { source, value }]) => ({
    key: copy.key,
    ...{ source, counter, value, at },
    final: false,
  }));
}

function valuesOf(
  meter: Meter,
): Record<(typeof COUNTERS)[number], { source: string; value: bigint }> {
  const { source, memorySource } = meter;
  return {
    cpu_ms: { source, value: BigInt(Math.floor(meter.cpuMs)) },
    uptime_s: { source, value: BigInt(Math.floor(meter.uptimeMs / 1000)) },
    memory_mib_s: { source: memorySource, value: BigInt(meter.memoryKibMs) / KIB_MS_PER_MIB_S },
  };
}

/** Puts the last values of a copy that has ended where they outlive its directory. Safe to repeat. */
export function endMeter(copy: Copy, at: number, context: DriverContext): void {
  const sampled = readMeter(copy.runDir);
  if (sampled === undefined || sampled.ended) return;
  const meter = lastOf(sampled, copy);
  endedReadings(kindOf(copy.handle)).keep(copy.key, Object.entries(valuesOf(meter)), at, context);
  replaceJson(join(copy.runDir, "meter.json"), { ...meter, ended: true });
}

function readMeter(runDir: string): Meter | undefined {
  const found: JsonObject = readJson(join(runDir, "meter.json")) ?? {};
  const { source, memorySource, cpuMs, uptimeMs: uptime, memoryKibMs } = found;
  const { residentKib: resident, sampledUptimeMs, ended } = found;
  if (typeof source !== "string" || typeof memorySource !== "string") return undefined;
  if (typeof cpuMs !== "number" || typeof uptime !== "number") return undefined;
  if (typeof memoryKibMs !== "string" || !/^\d{1,30}$/.test(memoryKibMs)) return undefined;
  if (typeof resident !== "number" || typeof sampledUptimeMs !== "number") return undefined;
  const basis = basisIn(objectOf(found["basis"]));
  return {
    ...{ source, memorySource, cpuMs, memoryKibMs, sampledUptimeMs },
    ...(basis !== undefined && { basis }),
    uptimeMs: uptime,
    residentKib: resident,
    ended: ended === true,
  };
}

function basisIn(found: JsonObject | undefined): Basis | undefined {
  const { kind, ms, seen } = found ?? {};
  if (kind === "group") return typeof ms === "number" ? { kind, ms } : undefined;
  if (kind !== "processes" || !Array.isArray(seen)) return undefined;
  const processes = (seen as readonly JsonValue[]).flatMap((each): SeenProcess[] => {
    const { id, ownMs, childrenMs } = objectOf(each) ?? {};
    if (typeof id !== "string" || typeof ownMs !== "number") return [];
    return typeof childrenMs === "number" ? [{ id, ownMs, childrenMs }] : [];
  });
  return { kind, seen: processes };
}
