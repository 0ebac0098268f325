/**
 * The last readings of copies that have ended: in a file of their instance until the metering has them, so that they
 * outlive the copy, its directory and the agent. Each driver has a file of its own.
 */
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DriverContext, DriverReading, JsonValue, ResourceKey } from "./driver.ts";
import { foldersOf } from "./folders.ts";
import type { CopyKind } from "./handles.ts";
import { objectOf, readJson, replaceJson } from "./json-file.ts";

type LastValue = readonly [counter: string, Readonly<{ source: string; value: bigint }>];

export type EndedReadings = Readonly<{
  /** Again for the same source and counter replaces what was kept. */
  keep(key: ResourceKey, values: readonly LastValue[], at: number, context: DriverContext): void;
  /** The last values of all copies that have ended, also of dropped instances; they are marked as handed out. */
  offer(context: DriverContext): readonly DriverReading[];
  /** What was handed out and ended at `at` or before is not kept any longer. */
  forget(at: number, context: DriverContext): void;
}>;

type Ended = Readonly<{
  resource: string;
  source: string;
  counter: string;
  value: string;
  at: number;
  /** Handed to the metering at least once; nothing else may be removed. */
  offered: boolean;
}>;

/** Readings of an instance that wait: three days of a crash loop at its slowest, three counters each. */
const ENDED_READINGS_MAX = 30_000;
const ENDED_BYTES_MAX = 16_777_216;

export function endedReadings(kind: CopyKind): EndedReadings {
  const file = `${kind}-ended.json`;
  return {
    keep: (key, values, at, context) => keep(file, key, values, at, context),
    offer: (context) => offer(file, context),
    forget: (at, context) => forget(file, at, context),
  };
}

function keep(
  file: string,
  { instanceId, resourceId }: ResourceKey,
  values: readonly LastValue[],
  at: number,
  context: DriverContext,
): void {
  const path = join(dirname(context.directories(instanceId).run), file);
  const lines = values.map(
    ([counter, { source, value }]): Ended => ({
      resource: resourceId,
      ...{ source, counter, at },
      value: String(value),
      offered: false,
    }),
  );
  const isNew = (known: Ended) =>
    !lines.some(({ source, counter }) => known.source === source && known.counter === counter);
  const kept = readEnded(path).filter(isNew);
  const room = ENDED_READINGS_MAX - lines.length;
  if (kept.length > room) {
    const dropped = kept.length - room;
    context.log.error({ path, dropped }, "usage of ended copies was not fetched in time");
  }
  writeEnded(path, instanceId, [...kept.slice(-room), ...lines]);
}

function offer(file: string, context: DriverContext): readonly DriverReading[] {
  return endedFiles(file, context).flatMap(({ path, instanceId }) => {
    const ended = readEnded(path);
    if (ended.some(({ offered }) => !offered)) {
      const offered = ended.map((line) => ({ ...line, offered: true }));
      writeEnded(path, instanceId, offered);
    }
    return ended.map(({ resource, source, counter, value, at }) => ({
      key: { instanceId, resourceId: resource },
      ...{ source, counter, at },
      value: BigInt(value),
      final: true,
    }));
  });
}

function forget(file: string, at: number, context: DriverContext): void {
  for (const { path, instanceId } of endedFiles(file, context)) {
    const ended = readEnded(path);
    const kept = ended.filter((line) => !line.offered || line.at > at);
    if (kept.length !== ended.length) writeEnded(path, instanceId, kept);
  }
}

/** Found by looking, since asking for a dropped instance's directories would make them again. */
function endedFiles(file: string, { stateDir }: DriverContext) {
  const instances = join(stateDir, "instances");
  return foldersOf(instances).flatMap((folder) => {
    const path = join(instances, folder, file);
    const instanceId = readJson(path, ENDED_BYTES_MAX)?.["instance"];
    return typeof instanceId === "string" ? [{ path, instanceId }] : [];
  });
}

function writeEnded(path: string, instance: string, ended: readonly Ended[]): void {
  if (ended.length === 0) rmSync(path, { force: true });
  else replaceJson(path, { instance, ended }, { durable: true });
}

function readEnded(path: string): readonly Ended[] {
  const lines = readJson(path, ENDED_BYTES_MAX)?.["ended"];
  return Array.isArray(lines) ? (lines as readonly JsonValue[]).flatMap(endedOf) : [];
}

function endedOf(found: JsonValue): readonly Ended[] {
  const { resource, source, counter, value, at, offered } = objectOf(found) ?? {};
  if (typeof resource !== "string" || typeof source !== "string") return [];
  if (typeof counter !== "string" || typeof at !== "number") return [];
  if (typeof value !== "string" || !/^\d{1,19}$/.test(value)) return [];
  return [{ resource, source, counter, value, at, offered: offered === true }];
}
