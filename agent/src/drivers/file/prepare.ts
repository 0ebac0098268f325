/** Tries all that can fail in a write before anything is changed. */
import { accessSync, constants } from "node:fs";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { accountOf } from "../host-process/account.ts";
import { contentOf, specOf } from "./content.ts";
import { findAround } from "./copies.ts";
import type { Folder } from "./folder.ts";
import type { FileHost } from "./host.ts";
import { inFolderOf, pathOf } from "./place.ts";
import { standingAt } from "./stands.ts";

/** Left to others on the disk: records and folders come on top of the content. */
const SLACK_BYTES = 65_536;

/**
 * Throws what the write would: INVALID_ARGUMENT `SPEC_INVALID`; PERMISSION_DENIED `FILE_ROOT_NOT_ALLOWED`,
 * `FILE_SYSTEM_REFUSED`, `USER_IS_ROOT`; FAILED_PRECONDITION `FILE_PATH_BLOCKED`, `FILE_ROOT_MISSING`, `FILE_TAKEN`,
 * `FILE_HARD_LINKED`, `FILE_FOLDER_READ_ONLY`, `USER_NOT_ALLOWED`, `USER_UNKNOWN`, and what contentOf throws;
 * RESOURCE_EXHAUSTED `DISK_FULL`.
 */
export async function prepareWrite(
  host: FileHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = specOf(wanted);
  accountOf(host, spec.owner, "owner");
  const path = pathOf(host, spec.path, wanted.key.instanceId, context);
  const { data } = await contentOf(host, wanted, spec);
  const copies = await findAround(host, path, wanted.key.instanceId, context);
  // The nearest folder that is there tells of those that will be made in it.
  const parts = path.split("/");
  for (let names = parts.length; names > 1; names--) {
    const nearest = [...parts.slice(0, names - 1), parts.at(-1)].join("/");
    const isFound = await inFolderOf(
      host,
      nearest,
      context,
      undefined,
      async ({ folder, file }) => {
        folder.refuseKernel();
        refuseFull(folder, data.length, path);
        refuseReadOnly(folder);
        if (nearest === path) standingAt({ folder, file }, path, wanted.key, copies);
        return true;
      },
    );
    if (isFound) return;
    refuseMissingRoot(host, nearest);
  }
}

/** Folders of the configuration are the customer's to make. */
function refuseMissingRoot({ roots }: FileHost, path: string): void {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const root = roots.find((each) => each === folder);
  if (root === undefined) return;
  const message = `${root} of file_roots is not there`;
  throw new Fault("FAILED_PRECONDITION", "FILE_ROOT_MISSING", message, {
    next: `mkdir -p ${root}`,
  });
}

function refuseFull(folder: Folder, bytes: number, path: string): void {
  const free = folder.freeBytes();
  if (free >= bytes + SLACK_BYTES) return;
  const message = `${path}: ${bytes} bytes wanted, ${free} are free on its disk`;
  throw new Fault("RESOURCE_EXHAUSTED", "DISK_FULL", message, { next: `df -h ${folder.path}` });
}

function refuseReadOnly(folder: Folder): void {
  try {
    accessSync(folder.at("."), constants.W_OK | constants.X_OK);
  } catch (error) {
    const message = `${folder.path}: cannot be written: ${causeChain(error)}`;
    throw new Fault("FAILED_PRECONDITION", "FILE_FOLDER_READ_ONLY", message, { cause: error });
  }
}
