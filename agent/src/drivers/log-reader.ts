/**
 * Reads logs from a place on, for whoever ships them. A log is one file that grows, and beside it numbered parts that
 * it was before; a part is a segment that has ended, the file itself the last one. What is gone is skipped, never an
 * error: the workload's output is bounded whatever its readers do.
 */
import { type BigIntStats, readdirSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { redacted } from "@holdfast/shared/redaction.ts";
import type { DriverContext, LogFile, LogPlace, LogRead, Redactor } from "./driver.ts";
import { foldersOf } from "./folders.ts";
import { type CopyKind, resourceOf } from "./handles.ts";
import { logPath } from "./logs.ts";
import { isHandle } from "./names.ts";
import { knownSecretsIn } from "./output.ts";

/** Logs of one agent that are looked at; those written last come first. */
export const LOG_FILES_SEEN_MAX = 2_000;
const INSTANCE_PREFIX = "ins_";
const LOG_NAME = /^(.+)\.log(?:\.([1-9]\d{0,8}))?$/;

export function logFilesIn(
  kind: CopyKind,
  { stateDir }: DriverContext,
  instanceId?: string,
): readonly LogFile[] {
  const instances = join(stateDir, "instances");
  const folders =
    instanceId === undefined ? foldersOf(instances) : [instanceId.slice(INSTANCE_PREFIX.length)];
  return folders
    .flatMap((folder) => {
      return logFilesOf(kind, join(instances, folder, "logs"), INSTANCE_PREFIX + folder);
    })
    .sort((a, b) => b.writtenAt - a.writtenAt)
    .slice(0, LOG_FILES_SEEN_MAX);
}

function logFilesOf(kind: CopyKind, logs: string, instanceId: string): readonly LogFile[] {
  const names = namesIn(logs);
  const parts = new Map<string, number>();
  for (const [handle, part] of names) parts.set(handle, Math.max(part, parts.get(handle) ?? 0));
  return names.flatMap(([handle, part]): LogFile[] => {
    const resourceId = resourceOf(handle, kind);
    if (part !== 0 || resourceId === undefined) return [];
    const stat = statOf(logPath(logs, handle));
    if (stat === undefined) return [];
    return [
      {
        ...{ key: { instanceId, resourceId }, handle },
        identity: `${stat.ino.toString(36)}${stat.birthtimeMs.toString(36)}`,
        segment: (parts.get(handle) ?? 0) + 1,
        bytes: Number(stat.size),
        writtenAt: Number(stat.mtimeMs),
      },
    ];
  });
}

/** Handles with the number of the part, 0 for the log itself. */
function namesIn(logs: string): readonly (readonly [string, number])[] {
  try {
    return readdirSync(logs).flatMap((name) => {
      const [, handle = "", part = "0"] = LOG_NAME.exec(name) ?? [];
      return isHandle(handle) ? [[handle, Number(part)] as const] : [];
    });
  } catch {
    return [];
  }
}

export async function readLog(
  file: LogFile,
  { segment, offset }: LogPlace,
  bytesMax: number,
  context: DriverContext,
): Promise<LogRead> {
  const path = logPath(join(homeOf(file, context), "logs"), file.handle);
  const isPart = segment < file.segment;
  const opened = await openIfThere(isPart ? `${path}.${segment}` : path);
  if (opened === undefined) {
    // A part that is gone, or a log that went between two looks.
    return { data: Buffer.alloc(0), at: { segment, offset }, isEnd: isPart, wasCut: isPart };
  }
  try {
    const { size } = await opened.stat();
    const wasCut = size < offset;
    const from = wasCut ? 0 : offset;
    const buffer = Buffer.alloc(Math.min(bytesMax, size - from));
    const { bytesRead } = await opened.read(buffer, 0, buffer.length, from);
    const isEnd = isPart && from + bytesRead >= size;
    const data = buffer.subarray(0, bytesRead);
    return { data, at: { segment, offset: from }, isEnd, wasCut };
  } finally {
    await opened.close();
  }
}

export function redactorOf(file: LogFile, context: DriverContext): Redactor | undefined {
  return redactorFrom(join(homeOf(file, context), "run", file.handle));
}

/** Of a copy whose secrets lie in the folder `secrets` there. */
export function redactorFrom(home: string): Redactor | undefined {
  const secrets = knownSecretsIn(home);
  if (secrets === undefined) return undefined;
  return { isNeeded: secrets.length > 0, redact: (line) => redacted(line, secrets) };
}

/** Without making it again where it is gone. */
function homeOf({ key }: LogFile, { stateDir }: DriverContext): string {
  return join(stateDir, "instances", key.instanceId.slice(INSTANCE_PREFIX.length));
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch {
    return undefined;
  }
}

function statOf(path: string): BigIntStats | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}
