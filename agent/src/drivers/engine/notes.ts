/**
 * What the engine cannot know of a copy, in small files of its run directory: what its probes have come to, that
 * somebody has begun to stop it, how it was found to have ended. Lost with the directory, never needed to find it.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DriverContext, ResourceKey } from "../driver.ts";
import { readJson, replaceJson } from "../json-file.ts";

export type HealthNote = Readonly<{
  /** Was ready once; what comes after is not a failed start. */
  wasReady: boolean;
  /** Failed liveness probes in a row. */
  failures: number;
  /** The count has reached what the spec allows. */
  failing: boolean;
  /** Somebody has begun to stop it. */
  stopping: boolean;
}>;

export type ExitNote = Readonly<{ at: number; message: string }>;

export function runDirOf(
  { instanceId }: ResourceKey,
  handle: string,
  { stateDir }: Pick<DriverContext, "stateDir">,
): string {
  return join(stateDir, "instances", instanceId.slice("ins_".length), "run", handle);
}

export function readHealth(runDir: string): HealthNote {
  const { wasReady, failures, failing, stopping } = readJson(join(runDir, "health.json")) ?? {};
  return {
    wasReady: wasReady === true,
    failures: typeof failures === "number" ? failures : 0,
    failing: failing === true,
    stopping: stopping === true,
  };
}

export function writeHealth(runDir: string, note: HealthNote): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  replaceJson(join(runDir, "health.json"), note);
}

export function readExit(runDir: string): ExitNote | undefined {
  const { at, message } = readJson(join(runDir, "exit.json")) ?? {};
  return typeof at === "number" && typeof message === "string" ? { at, message } : undefined;
}

export function writeExit(runDir: string, note: ExitNote): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  replaceJson(join(runDir, "exit.json"), note);
}

export function removeNotes(runDir: string): void {
  rmSync(runDir, { recursive: true, force: true });
}
