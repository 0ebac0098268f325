/**
 * Finds every file that the records of this state directory tell of, and which of them stands at its path. A copy
 * whose place another one has taken is set aside beside it until the commit.
 */
import { lstatSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DriverContext, ResourceKey } from "../driver.ts";
import type { FileHost } from "./host.ts";
import {
  type FileRecord,
  type FileStat,
  isSameFile,
  RECORD_SUFFIX,
  readRecord,
  recordPath,
  statOf,
} from "./record.ts";

/** How long a look works before others get their turn, in copies. */
const COPIES_AT_ONCE = 5_000;

export type CopyState =
  /** It has its path, as it was written or changed by somebody. */
  | "in place"
  /** Another copy has its path; its content is kept beside. */
  | "set aside"
  /** Begun, and not at its path yet. */
  | "begun"
  /** Its path is empty, or something stands there that is no plain file. */
  | "gone";

export type Copy = Readonly<{
  key: ResourceKey;
  record: FileRecord;
  state: CopyState;
  /** Of what stands at its path, if that is its own. */
  stat: FileStat | undefined;
  /** Permission bits and owner of the same. */
  rights: Readonly<{ mode: number; uid: number; gid: number }> | undefined;
  /** What is wrong with what stands there instead; empty: nothing stands there. */
  instead: string;
}>;

/** Every copy of this state directory, oldest first. Reads each record once for as long as it stays as it is. */
export async function findCopies(
  host: Pick<FileHost, "seen">,
  context: Pick<DriverContext, "stateDir">,
): Promise<readonly Copy[]> {
  return await copiesIn(host, runFolders(context.stateDir));
}

/** Those of one instance, oldest first. */
export async function findOf(
  host: Pick<FileHost, "seen">,
  instanceId: string,
  context: DriverContext,
): Promise<readonly Copy[]> {
  return await copiesIn(host, [context.directories(instanceId).run]);
}

/**
 * Those that can have to do with this path: below the instance's own folder nobody else writes. Elsewhere two
 * instances may meet.
 */
export async function findAround(
  host: Pick<FileHost, "seen">,
  path: string,
  instanceId: string,
  context: DriverContext,
): Promise<readonly Copy[]> {
  const { run } = context.directories(instanceId);
  const isOwn = path.startsWith(`${dirname(run)}/`);
  return await copiesIn(host, isOwn ? [run] : runFolders(context.stateDir));
}

async function copiesIn(
  { seen }: Pick<FileHost, "seen">,
  runDirs: readonly string[],
): Promise<readonly Copy[]> {
  const byPath = new Map<string, FileRecord[]>();
  let count = 0;
  for (const runDir of runDirs) {
    for (const name of namesIn(runDir)) {
      if (!name.endsWith(RECORD_SUFFIX)) continue;
      const record = seen.record(join(runDir, name));
      if (record === undefined || `${record.handle}${RECORD_SUFFIX}` !== name) continue;
      const same = byPath.get(record.path);
      if (same === undefined) byPath.set(record.path, [record]);
      else same.push(record);
      if (++count % COPIES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const copies: Copy[] = [];
  for (const [path, records] of byPath) copies.push(...copiesAt(path, records));
  return copies.sort(byAge);
}

/** One by its name, whatever became of it. */
export function findRecord(
  context: DriverContext,
  instanceId: string,
  handle: string,
): FileRecord | undefined {
  return readRecord(recordPath(context.directories(instanceId).run, handle));
}

function byAge({ record: a }: Copy, { record: b }: Copy): number {
  return a.beganAt - b.beganAt || (a.handle < b.handle ? -1 : 1);
}

function runFolders(stateDir: string): readonly string[] {
  const instances = join(stateDir, "instances");
  return namesIn(instances).map((name) => join(instances, name, "run"));
}

function namesIn(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    // Unknown is not empty.
    throw error;
  }
}

function copiesAt(path: string, records: readonly FileRecord[]): readonly Copy[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const stands = found?.isFile() ? found : undefined;
  const holder = stands && holderOf(records, stands);
  const newest = records.toSorted((a, b) => b.beganAt - a.beganAt).find(({ placed }) => placed);
  const instead = found === undefined || stands ? "" : "something stands there that is no file";
  return records.map((record): Copy => {
    const key = { instanceId: record.instance, resourceId: record.resource };
    const common = { key, record, stat: undefined, rights: undefined, instead };
    if (record === holder && stands !== undefined) {
      const { mode, uid, gid } = stands;
      const rights = { mode: mode & 0o7777, uid, gid };
      return { ...common, state: "in place", stat: statOf(stands), rights };
    }
    if (record.placed === undefined) return { ...common, state: "begun" };
    const isTop = holder === undefined && record === newest;
    return { ...common, state: isTop ? "gone" : "set aside" };
  });
}

/** Whose file it is: by what it is itself, or, once somebody has replaced it, of who wrote there last. */
function holderOf(records: readonly FileRecord[], stands: FileStat): FileRecord | undefined {
  const [only] = records;
  if (records.length === 1 && only?.placed !== undefined) return only;
  const own = records.find(({ staged }) => isSameFile(staged, stands));
  if (own !== undefined) return own;
  return records.filter(({ placed }) => placed).toSorted((a, b) => b.beganAt - a.beganAt)[0];
}
