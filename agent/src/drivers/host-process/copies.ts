/**
 * Finds every copy that this agent's state directory owns, from two witnesses: the record in the run directory
 * and the marks in the environments that /proc shows. Either one is enough. A process counts as ours only if
 * its start time and boot, or its marks, say so; a pid alone proves nothing.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { DriverContext, ResourceKey } from "../driver.ts";
import { foldersOf } from "../folders.ts";
import { countOf, resourceOf } from "../handles.ts";
import { isHandle, isInstanceId } from "../names.ts";
import { processesIn } from "./cgroup.ts";
import type { ProgramHost } from "./host.ts";
import {
  bootId,
  type Marks,
  type ProcessEntry,
  readMarks,
  readProcess,
  readProcesses,
  ticksToMs,
  uptimeMs,
} from "./proc.ts";
import {
  type CopyRecord,
  type ExitNote,
  type HealthNote,
  type ProcessIdentity,
  readExit,
  readHealth,
  readRecord,
  writeRecord,
} from "./record.ts";

/** One start of one process, and what is left of it. */
export type Copy = Readonly<{
  key: ResourceKey;
  handle: string;
  digest: string;
  /** `incarnation.number` */
  generation: string;
  ports: Readonly<Record<string, number>>;
  restarts: number;
  runDir: string;
  record: CopyRecord | undefined;
  /** Of the first process; undefined if it was never seen. It may have ended. */
  process: ProcessIdentity | undefined;
  /** Whether the first process runs. */
  running: boolean;
  /** All living processes of the copy, the first one's children included, oldest first. */
  members: readonly ProcessEntry[];
  exit: ExitNote | undefined;
  /** It was started before the host was last switched on. */
  ofEarlierBoot: boolean;
  /** What its probes have come to; of one that does not run nothing. */
  health: HealthNote | undefined;
  startedAt: number;
}>;

type Marked = Readonly<{ entry: ProcessEntry; marks: Marks }>;
type Sight = Readonly<{
  processes: readonly ProcessEntry[];
  marked: ReadonlyMap<string, readonly Marked[]>;
  bootId: string;
  bootedAt: number;
  /** Whether it shows all processes of the host. */
  isWhole: boolean;
}>;
type Place = Readonly<{ runDir: string; handle: string; record: CopyRecord | undefined }>;
type SeeingHost = Pick<ProgramHost, "procDir" | "looks">;
type CopyHost = SeeingHost & Pick<ProgramHost, "kind">;
type SettlingHost = CopyHost & Pick<ProgramHost, "children">;

/** Of one environment mark per fact; see environment.ts, which sets them. */
export const MARK = {
  state: "HOLDFAST_AGENT_STATE",
  instance: "HOLDFAST_INSTANCE",
  resource: "HOLDFAST_RESOURCE",
  copy: "HOLDFAST_COPY",
  generation: "HOLDFAST_GENERATION",
  digest: "HOLDFAST_DIGEST",
  port: "HOLDFAST_PORT_",
  /** Set for probes alone: they belong to the copy and are never its first process. */
  probe: "HOLDFAST_PROBE",
} as const;

/**
 * Every copy of this state directory, oldest first. One pass over /proc for all who ask at the same time. Where only
 * marks tell of a copy, its record is written again, so that its end will be noticed: with the process the marks go.
 */
export async function findCopies(host: CopyHost, context: DriverContext): Promise<readonly Copy[]> {
  return await host.looks.take("copies", () => copiesHere(host, context));
}

async function copiesHere(host: CopyHost, context: DriverContext): Promise<readonly Copy[]> {
  const { kind } = host;
  const sight = await look(host, context);
  const places = new Map(placesOf(kind, context.stateDir).map((place) => [place.handle, place]));
  const marked = [...sight.marked.keys()].filter((name) => isOf(kind, name));
  const handles = new Set([...places.keys(), ...marked]);
  const copies = [...handles].flatMap((name) => {
    const copy = copyOf(sight, name, places.get(name), context);
    if (copy?.running === true && copy.record?.process === undefined) writeAgain(copy, context);
    return copy === undefined ? [] : [copy];
  });
  return copies.sort(byAge);
}

/** As findCopies, but of a child of this agent that has ended it is known how. */
export async function findSettledCopies(
  host: SettlingHost,
  context: DriverContext,
): Promise<readonly Copy[]> {
  const copies = await findCopies(host, context);
  const unexplained = copies.flatMap(({ running, process, exit }) =>
    running || process === undefined || exit !== undefined ? [] : [process],
  );
  if (unexplained.length === 0) return copies;
  await Promise.all(unexplained.map((process) => host.children.settle(process, context)));
  return await findCopies(host, context);
}

/**
 * As findSettledCopies, but asks the kernel only for the processes that records name: the copies' members are left
 * out, and copies that only marks tell of. Looks at everything where a record does not say how its process ended.
 * `instanceId`: of that one alone.
 */
export async function findRecordedCopies(
  host: SettlingHost,
  context: DriverContext,
  instanceId?: string,
): Promise<readonly Copy[]> {
  const { procDir, kind } = host;
  const places =
    instanceId === undefined
      ? placesOf(kind, context.stateDir)
      : placesIn(kind, context.directories(instanceId).run);
  const processes = places.flatMap(({ record }) => {
    const pid = record?.process?.pid;
    const entry = pid === undefined ? undefined : readProcess(procDir, pid);
    return entry === undefined ? [] : [entry];
  });
  const sight = partOf(procDir, processes);
  const copies = places.flatMap((place) => copyOf(sight, place.handle, place, context) ?? []);
  const isExplained = ({ running, exit }: Copy) => running || exit !== undefined;
  if (copies.every(isExplained)) return copies.sort(byAge);
  const all = await findSettledCopies(host, context);
  return instanceId === undefined ? all : all.filter(({ key }) => key.instanceId === instanceId);
}

function byAge(a: Copy, b: Copy): number {
  return a.startedAt - b.startedAt || (a.handle < b.handle ? -1 : 1);
}

/** In the same turn as the look: whoever removes the directory does it after the process has ended. */
function writeAgain(copy: Copy, context: DriverContext): void {
  const { key, handle, digest, generation, ports, restarts, record } = copy;
  try {
    mkdirSync(copy.runDir, { recursive: true, mode: 0o700 });
    writeRecord(copy.runDir, {
      ...{ instance: key.instanceId, resource: key.resourceId },
      ...{ handle, digest, generation, ports, restarts, process: copy.process },
      stop: record?.stop ?? STOP_UNKNOWN,
      groups: record?.groups ?? {},
      kept: record?.kept ?? [],
      beganAt: copy.startedAt,
      stopping: record?.stopping ?? false,
    });
  } catch (error) {
    context.log.warn({ copy: handle, error: causeChain(error) }, "could not write a record again");
  }
}

/** One copy by its name; undefined if nothing is left of it. */
export async function findCopy(
  host: SeeingHost,
  context: DriverContext,
  key: ResourceKey,
  handle: string,
): Promise<Copy | undefined> {
  const runDir = join(context.directories(key.instanceId).run, handle);
  const name = `${key.instanceId}/${handle}`;
  const sight = await look(host, context);
  const place = { runDir, handle: name, record: readRecord(runDir) };
  return copyOf(sight, name, place, context);
}

/**
 * As findCopy, for questions that are asked often: looks at no other process if record and process agree. The
 * copy's members are then left out.
 */
export async function findRunning(
  host: SettlingHost,
  context: DriverContext,
  key: ResourceKey,
  handle: string,
): Promise<Copy | undefined> {
  const { procDir } = host;
  const runDir = join(context.directories(key.instanceId).run, handle);
  const record = isHandle(handle) ? readRecord(runDir) : undefined;
  const known = record?.process;
  const entry = known === undefined ? undefined : readProcess(procDir, known.pid);
  const sight = partOf(procDir, entry === undefined ? [] : [entry]);
  const name = `${key.instanceId}/${handle}`;
  const copy = copyOf(sight, name, { runDir, handle: name, record }, context);
  if (copy?.running === true) return copy;
  const copies = await findSettledCopies(host, context);
  return copies.find((each) => each.handle === handle && each.key.instanceId === key.instanceId);
}

/** `name`: instance and copy. */
function isOf(kind: ProgramHost["kind"], name: string): boolean {
  return resourceOf(name.slice(name.indexOf("/") + 1), kind) !== undefined;
}

/** Folders below run/ that hold a record, by instance and copy. */
function placesOf(kind: ProgramHost["kind"], stateDir: string): readonly Place[] {
  const instances = join(stateDir, "instances");
  return foldersOf(instances).flatMap((each) => placesIn(kind, join(instances, each, "run")));
}

function placesIn(kind: ProgramHost["kind"], run: string): readonly Place[] {
  return foldersOf(run).flatMap((copy): Place[] => {
    const runDir = join(run, copy);
    const isKind = isHandle(copy) && resourceOf(copy, kind) !== undefined;
    const record = isKind ? readRecord(runDir) : undefined;
    const isOwn = record?.handle === copy;
    return isOwn ? [{ runDir, handle: `${record.instance}/${copy}`, record }] : [];
  });
}

function look({ procDir, looks }: SeeingHost, context: DriverContext): Promise<Sight> {
  return looks.take("processes", () => sightOf(procDir, context));
}

async function sightOf(procDir: string, context: DriverContext): Promise<Sight> {
  const processes = await readProcesses(procDir);
  const marked = new Map<string, Marked[]>();
  for (const entry of processes) {
    if (entry.ended) continue;
    const marks = readMarks(procDir, entry.pid);
    const copy = marks?.get(MARK.copy);
    const instance = marks?.get(MARK.instance);
    if (marks?.get(MARK.state) !== context.stateDir || !isInstanceId(instance)) continue;
    if (copy === undefined || !isHandle(copy)) continue;
    const name = `${instance}/${copy}`;
    marked.set(name, [...(marked.get(name) ?? []), { entry, marks }]);
  }
  const bootedAt = context.clock.now() - uptimeMs(procDir);
  return { processes, marked, bootId: bootId(procDir), bootedAt, isWhole: true };
}

/** Of a few processes whose records are known. */
function partOf(procDir: string, processes: readonly ProcessEntry[]): Sight {
  const bootedAt = 0;
  return { processes, marked: new Map(), bootId: bootId(procDir), bootedAt, isWhole: false };
}

function copyOf(
  sight: Sight,
  name: string,
  place: Place | undefined,
  context: DriverContext,
): Copy | undefined {
  const record = place?.record;
  const marked = sight.marked.get(name) ?? [];
  const facts = record ?? factsIn(marked[0]?.marks);
  if (facts === undefined) return undefined;
  const runDir = place?.runDir ?? join(context.directories(facts.instance).run, facts.handle);
  const leader = leaderOf(sight, record, marked);
  const process = leader === undefined ? record?.process : identity(sight, leader);
  const grouped = sight.isWhole && record !== undefined ? processesIn(record.groups) : [];
  const own = new Set([...marked.map(({ entry }) => entry.pid), ...grouped]);
  const session = sessionOf(sight, process);
  const members = sight.processes.filter(
    ({ ended, pid, session: its }) => !ended && (own.has(pid) || its === session),
  );
  return {
    key: { instanceId: facts.instance, resourceId: facts.resource },
    handle: facts.handle,
    digest: facts.digest,
    generation: facts.generation,
    ports: facts.ports,
    restarts: facts.restarts,
    ...{ runDir, record, process, members },
    running: leader !== undefined,
    exit: leader === undefined && existsSync(runDir) ? readExit(runDir) : undefined,
    ofEarlierBoot: process !== undefined && process.bootId !== sight.bootId,
    health: leader === undefined ? undefined : readHealth(runDir),
    startedAt: record?.beganAt ?? Math.round(sight.bootedAt + ticksToMs(leader?.startTicks ?? 0)),
  };
}

/**
 * The session that the copy's first process leads. Only while that process can be seen, as a zombie at least:
 * its number may be another's later, and then only marks tell who belongs to the copy.
 */
function sessionOf(sight: Sight, process: ProcessIdentity | undefined): number | undefined {
  const { pid, startTicks, bootId: boot } = process ?? {};
  if (boot !== sight.bootId) return undefined;
  const found = sight.processes.find(
    (entry) => entry.pid === pid && entry.startTicks === startTicks,
  );
  return found?.session === pid ? pid : undefined;
}

/** The first process of the copy, if it runs. */
function leaderOf(
  sight: Sight,
  record: CopyRecord | undefined,
  marked: readonly Marked[],
): ProcessEntry | undefined {
  const known = record?.process;
  if (known === undefined) {
    return marked.find(({ entry, marks }) => entry.pid === entry.session && !marks.has(MARK.probe))
      ?.entry;
  }
  if (known.bootId !== sight.bootId) return undefined;
  return sight.processes.find(
    ({ pid, startTicks, ended }) => !ended && pid === known.pid && startTicks === known.startTicks,
  );
}

function identity(sight: Sight, { pid, startTicks }: ProcessEntry): ProcessIdentity {
  return { pid, startTicks, bootId: sight.bootId };
}

type Facts = Pick<
  CopyRecord,
  "instance" | "resource" | "handle" | "digest" | "generation" | "ports" | "restarts"
>;

function factsIn(marks: Marks | undefined): Facts | undefined {
  const instance = marks?.get(MARK.instance);
  const resource = marks?.get(MARK.resource);
  const handle = marks?.get(MARK.copy);
  const generation = marks?.get(MARK.generation) ?? "";
  if (marks === undefined || instance === undefined || resource === undefined) return undefined;
  if (handle === undefined || !/^\d+\.\d+$/.test(generation)) return undefined;
  const ports = [...marks].flatMap(([name, value]): [string, number][] => {
    const isPort = name.startsWith(MARK.port) && /^\d{1,5}$/.test(value);
    return isPort ? [[portNameOf(name), Number(value)]] : [];
  });
  return {
    ...{ instance, resource, handle, generation },
    digest: marks.get(MARK.digest) ?? "",
    ports: Object.fromEntries(ports),
    restarts: countOf(handle),
  };
}

/** Names of ports have neither capitals nor underscores, so that a variable's name can be turned back. */
export function portVariable(name: string): string {
  return MARK.port + name.toUpperCase().replaceAll("-", "_");
}

function portNameOf(variable: string): string {
  return variable.slice(MARK.port.length).toLowerCase().replaceAll("_", "-");
}
