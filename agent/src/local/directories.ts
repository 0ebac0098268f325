/** Where an instance's files are. The directory's name is the id without its prefix: data outlives everything. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { uuidOf } from "@holdfast/shared/ids.ts";
import type { InstanceDirectories } from "../drivers/driver.ts";

/** Makes nothing. Throws INVALID_ARGUMENT `ID_MALFORMED`, so that no id names another place. */
export function instanceFolder(stateDir: string, instanceId: string): string {
  return join(stateDir, "instances", uuidOf("instance", instanceId).replaceAll("-", ""));
}

/** They exist when it returns. Throws as instanceFolder does. */
export function instanceDirectories(stateDir: string, instanceId: string): InstanceDirectories {
  const root = instanceFolder(stateDir, instanceId);
  const directories = {
    run: join(root, "run"),
    data: join(root, "data"),
    logs: join(root, "logs"),
    seatsFile: join(root, "seats.json"),
  };
  for (const path of [directories.run, directories.data, directories.logs]) {
    // Asked for many times a second, and made once.
    if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o700 });
  }
  return directories;
}
