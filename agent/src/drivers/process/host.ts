/**
 * What the process driver takes from the agent's own process. Handed in, since only main.ts touches it and
 * tests put a made-up /proc in its place.
 */

import type { AgentConfig } from "../../config.ts";
import { AskedCopies } from "../asked.ts";
import { Children } from "./children.ts";
import { ReadSpecs } from "./spec.ts";

export type ProcessHost = Readonly<{
  /** The agent's own Node binary: what `node` in argv[0] means. */
  nodePath: string;
  /** As process.kill; a negative pid is a process group. */
  kill(pid: number, signal: string): void;
  /** As process.umask: sets the mask and gives the one before. */
  umask(mask: number): number;
  /** Called when a child of this agent has ended. Adopted ones are found by observing. */
  onChange(instanceId: string): void;
  /** Those that it started itself. */
  children: Children;
  /** How long ago each copy was probed. */
  asked: AskedCopies;
  /** Specs that were read already. */
  specs: ReadSpecs;
  /** Where the proc file system is mounted: /proc. */
  procDir: string;
  /** Why no control groups are to be made; undefined: as far as the host allows. */
  withoutGroups: string | undefined;
  /** Of the agent itself. */
  uid: number;
  /** Accounts that releases may name. */
  users: readonly string[];
  /** Where accounts are looked up: /etc/passwd. */
  accountsFile: string;
}>;

/** What main.ts knows of its process without any setting. */
export type ProcessGround = Omit<
  ProcessHost,
  "onChange" | "children" | "asked" | "specs" | "withoutGroups" | "users" | "uid"
>;

export function processHost(
  ground: ProcessGround,
  uid: number,
  { processCgroups, processUsers }: Pick<AgentConfig, "processCgroups" | "processUsers">,
  onChange: ProcessHost["onChange"],
): ProcessHost {
  const withoutGroups = processCgroups === "off" ? "process_cgroups is off" : undefined;
  const memory = { children: new Children(), asked: new AskedCopies(), specs: new ReadSpecs() };
  return { ...ground, ...memory, uid, withoutGroups, users: processUsers, onChange };
}

export const DRIVER_KIND = "process";

/** Clock ticks in a second as /proc shows them: USER_HZ, 100 on every Linux of x64 and arm64. */
export const TICKS_PER_SECOND = 100;
