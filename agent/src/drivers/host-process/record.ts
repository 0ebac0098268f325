/**
 * The small files in a copy's run directory: what was started, how it ended, what its probes said and what it
 * has used. Each is replaced whole; one that is torn, foreign or too large counts as absent, since the marks in
 * the environment say the same.
 */
import { join } from "node:path";
import type { JsonObject, JsonValue } from "../driver.ts";
import { objectOf, readJson, replaceJson } from "../json-file.ts";
import { isHandle, isInstanceId } from "../names.ts";
import { type Groups, isGroupOf } from "./cgroup.ts";
import { CONTROLLERS, type Controller, type Place } from "./cgroup-places.ts";
import { KEPT_HOW, type Kept } from "./limits.ts";

/** Identity of a process on this host for ever. */
export type ProcessIdentity = Readonly<{ pid: number; startTicks: number; bootId: string }>;

export type StopSettings = Readonly<{ signal: string; graceMs: number }>;

export type CopyRecord = Readonly<{
  instance: string;
  resource: string;
  handle: string;
  digest: string;
  /** `incarnation.number` */
  generation: string;
  ports: Readonly<Record<string, number>>;
  restarts: number;
  stop: StopSettings;
  groups: Groups;
  /** What became of the limits that its spec asks for. */
  kept: readonly Kept[];
  /** Wall clock, ms. */
  beganAt: number;
  /** Absent while the start has begun and it is not yet known what came of it. */
  process: ProcessIdentity | undefined;
  /** Somebody has begun to stop it. */
  stopping: boolean;
}>;

/** How a copy ended. Neither code nor signal: nobody was there to see it. */
export type ExitNote = Readonly<{
  at: number;
  code: number | undefined;
  signal: string | undefined;
}>;

export type HealthNote = Readonly<{
  /** Was ready once; what comes after is not a failed start. */
  wasReady: boolean;
  /** Failed liveness probes in a row. */
  failures: number;
  /** The count has reached what the spec allows. */
  failing: boolean;
  /** Which limit it passed; such a copy is ended. */
  overuse?: string;
}>;

const RECORD_VERSION = 1;

/** On the disk before it returns once there is a process to tell of. */
export function writeRecord(runDir: string, record: CopyRecord): void {
  const durable = record.process !== undefined;
  replaceJson(join(runDir, "record.json"), { version: RECORD_VERSION, ...record }, { durable });
}

export function readRecord(runDir: string): CopyRecord | undefined {
  const found = readJson(join(runDir, "record.json"));
  if (found?.["version"] !== RECORD_VERSION) return undefined;
  const { instance, resource, handle, digest, generation, restarts, beganAt } = found;
  const stop = objectOf(found["stop"]);
  const ports = Object.entries(objectOf(found["ports"]) ?? {}).filter(
    (entry): entry is [string, number] => Number.isInteger(entry[1]),
  );
  if (typeof instance !== "string" || !isInstanceId(instance)) return undefined;
  if (typeof resource !== "string") return undefined;
  if (typeof handle !== "string" || !isHandle(handle)) return undefined;
  if (typeof digest !== "string" || typeof generation !== "string") return undefined;
  if (!/^\d+\.\d+$/.test(generation)) return undefined;
  if (typeof restarts !== "number" || typeof beganAt !== "number") return undefined;
  const signal = stop?.["signal"];
  const graceMs = stop?.["graceMs"];
  if (typeof signal !== "string" || typeof graceMs !== "number") return undefined;
  return {
    ...{ instance, resource, handle, digest, generation, restarts, beganAt },
    ports: Object.fromEntries(ports),
    stop: { signal, graceMs },
    groups: groupsIn(objectOf(found["groups"]), instance, handle),
    kept: keptIn(found["kept"]),
    process: identityOf(objectOf(found["process"])),
    stopping: found["stopping"] === true,
  };
}

/** Only folders that can be this copy's: whoever changes the file must not name the group of somebody else. */
function groupsIn(found: JsonObject | undefined, instance: string, handle: string): Groups {
  const groups: Partial<Record<Controller, Place>> = {};
  for (const controller of CONTROLLERS) {
    const { dir, version } = objectOf(found?.[controller]) ?? {};
    if (typeof dir !== "string" || (version !== 1 && version !== 2)) continue;
    if (isGroupOf(dir, instance, handle)) groups[controller] = { version, dir };
  }
  return groups;
}

function keptIn(found: JsonValue | undefined): readonly Kept[] {
  return (Array.isArray(found) ? (found as readonly JsonValue[]) : []).flatMap((each) => {
    const { amount, what, how, gap } = objectOf(each) ?? {};
    const word = KEPT_HOW.find((known) => known === how);
    if (typeof amount !== "string" || word === undefined) return [];
    if (typeof what !== "string" || typeof gap !== "string") return [];
    return [{ amount: amount as Kept["amount"], what, how: word, gap }];
  });
}

function identityOf(found: JsonObject | undefined): ProcessIdentity | undefined {
  const { pid, startTicks, bootId } = found ?? {};
  if (typeof pid !== "number" || pid <= 1 || !Number.isInteger(pid)) return undefined;
  if (typeof startTicks !== "number" || typeof bootId !== "string") return undefined;
  return { pid, startTicks, bootId };
}

export function writeExit(runDir: string, note: ExitNote): void {
  replaceJson(join(runDir, "exit.json"), note);
}

export function readExit(runDir: string): ExitNote | undefined {
  const found = readJson(join(runDir, "exit.json"));
  if (typeof found?.["at"] !== "number") return undefined;
  const { at, code, signal } = found;
  return {
    at,
    code: typeof code === "number" ? code : undefined,
    signal: typeof signal === "string" ? signal : undefined,
  };
}

export function writeHealth(runDir: string, note: HealthNote): void {
  replaceJson(join(runDir, "health.json"), note);
}

export function readHealth(runDir: string): HealthNote {
  const found = readJson(join(runDir, "health.json")) ?? {};
  const { failures, overuse } = found;
  return {
    wasReady: found["wasReady"] === true,
    failures: typeof failures === "number" ? failures : 0,
    failing: found["failing"] === true,
    ...(typeof overuse === "string" && { overuse }),
  };
}
