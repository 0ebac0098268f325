/**
 * What drivers of programs take from the agent's own process. Handed in, since only main.ts touches it and tests put
 * a made-up /proc in its place.
 */

import { SharedLooks } from "@holdfast/shared/shared-looks.ts";
import type { AgentConfig } from "../../config.ts";
import type { CopyKind } from "../handles.ts";
import { Children } from "./children.ts";

export type ProgramHost = Readonly<{
  /** Whose copies it has to do with. */
  kind: CopyKind;
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
  /** At all processes of the host, and at all copies. */
  looks: SharedLooks;
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
export type ProgramGround = Pick<
  ProgramHost,
  "nodePath" | "kill" | "umask" | "procDir" | "accountsFile"
>;

export function programHost(
  kind: CopyKind,
  ground: ProgramGround,
  uid: number,
  { processCgroups, processUsers }: Pick<AgentConfig, "processCgroups" | "processUsers">,
  onChange: ProgramHost["onChange"],
): ProgramHost {
  const withoutGroups = processCgroups === "off" ? "process_cgroups is off" : undefined;
  const own = { children: new Children(), looks: new SharedLooks() };
  return { kind, ...ground, ...own, uid, withoutGroups, users: processUsers, onChange };
}
