/**
 * What the agent gives to a copy besides its image: secrets and the seat list, in a folder in memory that the container
 * sees read-only as /run/holdfast. Never in its environment, which everybody reads who may ask the engine.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { GIVEN_PATH } from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { DriverContext, ResourceKey, Wanted } from "../driver.ts";
import type { ContainerHost } from "./host.ts";
import { ownPrefix } from "./marks.ts";
import type { ContainerSpec } from "./spec.ts";

/** statfs type of tmpfs. */
const TMPFS = 0x01021994;
const SEATS_FILE = "seats.json";

export const GIVEN_SEATS = `${GIVEN_PATH}/${SEATS_FILE}`;

export function givenSecret(name: string): string {
  return `${GIVEN_PATH}/secrets/${name}`;
}

export function givenDirOf(
  { memoryDir }: Pick<ContainerHost, "memoryDir">,
  { instanceId }: Pick<ResourceKey, "instanceId">,
  handle: string,
  { stateDir }: Pick<DriverContext, "stateDir">,
): string {
  return join(instanceGivenDir({ memoryDir }, instanceId, { stateDir }), handle);
}

function instanceGivenDir(
  { memoryDir }: Pick<ContainerHost, "memoryDir">,
  instanceId: string,
  { stateDir }: Pick<DriverContext, "stateDir">,
): string {
  return join(memoryDir, ownPrefix(stateDir), instanceId.slice("ins_".length));
}

/** Throws FAILED_PRECONDITION `SECRET_MISSING` or `MEMORY_DIR_ON_DISK`. */
export function checkGiven(host: ContainerHost, wanted: Wanted, spec: ContainerSpec): void {
  for (const [name, secret] of Object.entries(spec.secretFiles)) secretValue(wanted, name, secret);
  if (Object.keys(spec.secretFiles).length === 0 || isInMemory(host.memoryDir)) return;
  const message = `secretFiles: ${host.memoryDir} is no file system in memory; secrets are not written to a disk`;
  throw new Fault("FAILED_PRECONDITION", "MEMORY_DIR_ON_DISK", message, {
    next: `mount -t tmpfs tmpfs ${host.memoryDir}`,
  });
}

function isInMemory(folder: string): boolean {
  try {
    return statfsSync(folder).type === TMPFS;
  } catch {
    return false;
  }
}

/**
 * Others of the host cannot pass the folder above; whoever can, such as the container's user, may read. Written
 * again it replaces what is there, as after the host was switched off and on.
 */
export function writeGiven(
  host: ContainerHost,
  wanted: Wanted,
  spec: ContainerSpec,
  handle: string,
  context: DriverContext,
): string {
  const folder = givenDirOf(host, wanted.key, handle, context);
  const own = join(host.memoryDir, ownPrefix(context.stateDir));
  mkdirSync(own, { recursive: true, mode: 0o700 });
  mkdirSync(join(folder, "secrets"), { recursive: true, mode: 0o755 });
  for (const [name, secret] of Object.entries(spec.secretFiles)) {
    replace(join(folder, "secrets", name), secretValue(wanted, name, secret));
  }
  writeSeats(folder, wanted.key.instanceId, context);
  return folder;
}

/** The seat list as it is now; nothing if there is none yet or the copy's folder is gone. */
export function writeSeats(folder: string, instanceId: string, context: DriverContext): void {
  const { seatsFile } = context.directories(instanceId);
  if (!existsSync(seatsFile) || !existsSync(folder)) return;
  const draft = join(folder, `${SEATS_FILE}.new`);
  copyFileSync(seatsFile, draft);
  renameSync(draft, join(folder, SEATS_FILE));
}

function replace(path: string, value: string): void {
  const draft = join(dirname(path), `.${Buffer.from(path).toString("hex").slice(-8)}.new`);
  writeFileSync(draft, value, { mode: 0o444 });
  renameSync(draft, path);
}

export function removeGiven(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

export function removeInstanceGiven(
  host: ContainerHost,
  instanceId: string,
  context: DriverContext,
): void {
  rmSync(instanceGivenDir(host, instanceId, context), { recursive: true, force: true });
}

/** `file` names it for people. Throws FAILED_PRECONDITION `SECRET_MISSING`. */
function secretValue(wanted: Wanted, file: string, secret: string): string {
  const value = wanted.secrets.get(secret);
  if (value !== undefined) return value;
  const message = `secretFiles.${file}: the secret ${shown(secret)} is not on this host`;
  throw new Fault("FAILED_PRECONDITION", "SECRET_MISSING", message);
}
