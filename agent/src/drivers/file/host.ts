/** What the file driver takes from the agent's configuration and its own process. Handed in, so that tests choose it. */
import type { AgentConfig } from "../../config.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { SeenFiles } from "./seen.ts";

export type FileHost = Pick<ProgramHost, "uid" | "users" | "accountsFile"> &
  Readonly<{
    /** Folders of the host, besides the instance's own, below which releases may write; absolute. */
    roots: readonly string[];
    /** Where the proc file system is mounted: /proc. Through it one works inside of a folder that is held open. */
    procDir: string;
    /** What the last look read. */
    seen: SeenFiles;
  }>;

export function fileHost(
  { procDir, accountsFile }: Pick<FileHost, "procDir" | "accountsFile">,
  uid: number,
  { fileRoots, processUsers }: Pick<AgentConfig, "fileRoots" | "processUsers">,
): FileHost {
  return {
    procDir,
    accountsFile,
    uid,
    users: processUsers,
    roots: fileRoots,
    seen: new SeenFiles(),
  };
}

export const DRIVER_KIND = "file";
