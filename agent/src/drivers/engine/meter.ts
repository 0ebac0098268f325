/**
 * What a copy has used: processor time as the engine's control group counts it, uptime by the host's clock, memory as
 * the integral of MiB over time, which is added up here. All three only grow. What was measured last is kept in the
 * copy's run directory, so that nothing is lost when container, engine or agent end.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { DriverContext, DriverReading } from "../driver.ts";
import { endedReadings } from "../ended.ts";
import { kindOf } from "../handles.ts";
import { readJson, replaceJson } from "../json-file.ts";
import type { Copy } from "./copies.ts";
import type { Docker } from "./dock.ts";
import { isGone } from "./faults.ts";
import type { ContainerHost } from "./host.ts";

type Meter = Readonly<{
  /** Of the container's life: it, and how often the engine has started it again. */
  source: string;
  /** Of what is added up here, which starts at 0 if its sum was lost while the container lived. */
  summedSource: string;
  cpuMs: number;
  uptimeMs: number;
  /** KiB times ms; beyond 2^53 after a day of some 100 GiB, hence text of an integer. */
  memoryKibMs: string;
  memoryKib: number;
  /** ms since the host was switched on, of the last sample. */
  sampledUptimeMs: number;
  /** Its last values are with the ended. */
  ended: boolean;
}>;

const ID_CHARS = 24;
const NANO_PER_MS = 1_000_000;
const KIB_MS_PER_MIB_S = 1024n * 1000n;

/** At the start of a container, so that its memory and uptime count from the first moment. */
export function beginMeter(host: Pick<ContainerHost, "uptimeMs">, copy: Copy): void {
  if (readMeter(copy.runDir)?.source === sourceOf(copy)) return;
  write(copy.runDir, fresh(sourceOf(copy), sourceOf(copy), host.uptimeMs()));
}

function fresh(source: string, summedSource: string, sampledUptimeMs: number): Meter {
  const nothing = { cpuMs: 0, uptimeMs: 0, memoryKibMs: "0", memoryKib: 0, ended: false };
  return { source, summedSource, sampledUptimeMs, ...nothing };
}

function sourceOf({ id, engineRestarts }: Copy): string {
  return `${id.slice(0, ID_CHARS)}:${engineRestarts}`;
}

/** Measures a copy that runs and writes it down. undefined if it has ended meanwhile. */
export async function sampleMeter(
  host: Pick<ContainerHost, "dock" | "uptimeMs">,
  copy: Copy,
  context: DriverContext,
): Promise<Meter | undefined> {
  const used = await usedBy(host, copy, context);
  if (used === undefined) return undefined;
  const now = host.uptimeMs();
  const source = sourceOf(copy);
  const kept = readMeter(copy.runDir);
  // The engine has started it again: what its life before had used is over.
  if (kept !== undefined && kept.source !== source) endMeter(copy, context.clock.now(), context);
  const before =
    kept?.source === source ? kept : fresh(source, `${source}:${Math.round(now)}`, now);
  const elapsed = Math.max(0, now - before.sampledUptimeMs);
  const first = before.memoryKib === 0 ? used.memoryKib : before.memoryKib;
  const area = BigInt(Math.round(((first + used.memoryKib) / 2) * elapsed));
  const next: Meter = {
    ...before,
    cpuMs: Math.max(before.cpuMs, used.cpuMs),
    uptimeMs: before.uptimeMs + elapsed,
    memoryKibMs: String(BigInt(before.memoryKibMs) + area),
    memoryKib: used.memoryKib,
    sampledUptimeMs: now,
  };
  write(copy.runDir, next);
  return next;
}

/** One question; page cache that the kernel would give back at once is not counted, as `docker stats` does. */
async function usedBy(
  { dock }: Pick<ContainerHost, "dock">,
  { id, handle }: Copy,
  { signal }: DriverContext,
): Promise<Readonly<{ cpuMs: number; memoryKib: number }> | undefined> {
  try {
    const stats = await dock.ask(handle, signal, (docker) =>
      docker.getContainer(id).stats({ stream: false, "one-shot": true }),
    );
    const { usage, stats: parts } = stats.memory_stats as Partial<Docker.MemoryStats>;
    if (usage === undefined) return undefined;
    const more = (parts ?? {}) as Partial<Record<string, number>>;
    const cache = more["total_inactive_file"] ?? more["inactive_file"] ?? 0;
    return {
      cpuMs: stats.cpu_stats.cpu_usage.total_usage / NANO_PER_MS,
      memoryKib: Math.round(Math.max(0, usage - cache) / 1_024),
    };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

export function readingsOf(
  { key }: Pick<Copy, "key">,
  meter: Meter,
  at: number,
): readonly DriverReading[] {
  return valuesOf(meter).map(([counter, { source, value }]) => ({
    key,
    ...{ source, counter, value, at },
    final: false,
  }));
}

type Values = readonly (readonly [string, Readonly<{ source: string; value: bigint }>])[];

function valuesOf({ source, summedSource, cpuMs, uptimeMs, memoryKibMs }: Meter): Values {
  const memory = BigInt(memoryKibMs) / KIB_MS_PER_MIB_S;
  return [
    ["cpu_ms", { source, value: BigInt(Math.floor(cpuMs)) }],
    ["uptime_s", { source: summedSource, value: BigInt(Math.floor(uptimeMs / 1_000)) }],
    ["memory_mib_s", { source: summedSource, value: memory }],
  ];
}

/** Puts the last values of a copy that has ended where they outlive its directory. Safe to repeat. */
export function endMeter({ key, handle, runDir }: Copy, at: number, context: DriverContext): void {
  const meter = readMeter(runDir);
  if (meter === undefined || meter.ended) return;
  endedReadings(kindOf(handle)).keep(key, valuesOf(meter), at, context);
  write(runDir, { ...meter, ended: true });
}

function write(runDir: string, meter: Meter): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  replaceJson(join(runDir, "meter.json"), meter);
}

function readMeter(runDir: string): Meter | undefined {
  const found = readJson(join(runDir, "meter.json")) ?? {};
  const { source, summedSource, cpuMs, uptimeMs, memoryKibMs, memoryKib, sampledUptimeMs } = found;
  if (typeof source !== "string" || typeof summedSource !== "string") return undefined;
  if (typeof memoryKibMs !== "string" || !/^\d{1,30}$/.test(memoryKibMs)) return undefined;
  if (typeof cpuMs !== "number" || typeof uptimeMs !== "number") return undefined;
  if (typeof memoryKib !== "number" || typeof sampledUptimeMs !== "number") return undefined;
  const ended = found["ended"] === true;
  return { source, summedSource, cpuMs, uptimeMs, memoryKibMs, memoryKib, sampledUptimeMs, ended };
}
