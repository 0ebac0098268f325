/**
 * What every container is, whether it serves or runs to its end: its image, its program, what it sees and what it may
 * use. Refuses images by tag, commands as text and everything that would widen the restricted profile.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { isPlainObject, type Shape } from "../shape.ts";
import { type ImageSource, readImage } from "./container-image.ts";
import {
  type ContainerMount,
  type ContainerTmpfs,
  type ContainerVolume,
  readMounts,
} from "./container-mounts.ts";
import {
  type ContainerGpus,
  type ContainerUser,
  readContainerArgv,
  readGpus,
  readReadOnlyRoot,
  readUser,
  refuseReach,
} from "./container-reach.ts";
import type { SpecPath } from "./kind.ts";
import {
  isAmount,
  type ProcessLimits,
  type ProcessRequests,
  readAmounts,
} from "./process-limits.ts";
import { readEnv, readSecretFiles } from "./workload.ts";

/** Counters that are kept for each container. */
export const CONTAINER_COUNTERS = ["cpu_ms", "uptime_s", "memory_mib_s"] as const;

export type ContainerBody = Readonly<{
  image: ImageSource;
  /** Undefined: what the image itself runs. */
  argv?: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Name of the file below /run/holdfast/secrets to the name of the declared secret. */
  secretFiles: Readonly<Record<string, string>>;
  volumes: Readonly<Record<string, ContainerVolume>>;
  mounts: readonly ContainerMount[];
  tmpfs: readonly ContainerTmpfs[];
  limits: ProcessLimits;
  requests: ProcessRequests;
  user: ContainerUser;
  readOnlyRoot: boolean;
  gpus?: ContainerGpus;
}>;

/** The engine refuses less. */
const MEMORY_MIB_MIN = 6;

export function readContainerBody(shape: Shape): ContainerBody {
  refuseReach(shape);
  const image = readImage(shape);
  const argv = shape.has("argv") ? readContainerArgv(shape) : undefined;
  const env = readEnv(shape);
  const secretFiles = readSecretFiles(shape);
  const amounts = readAmounts(shape);
  const { memoryMib } = amounts.limits;
  if (memoryMib !== undefined && memoryMib < MEMORY_MIB_MIN) {
    shape.add("limits.memoryMib", "out of range", memoryMib, `${MEMORY_MIB_MIN} or more`);
  }
  const gpus = readGpus(shape);
  return {
    ...{ image, env, secretFiles },
    ...readMounts(shape),
    ...(argv !== undefined && { argv }),
    ...amounts,
    user: readUser(shape),
    readOnlyRoot: readReadOnlyRoot(shape),
    ...(gpus && { gpus }),
  };
}

/** Whether an expression may stand there: not in what chooses code or reach. */
export function isOpenInContainer(at: SpecPath): boolean {
  const [field, index] = at;
  if (isAmount(at) || field === "env" || field === "secretFiles") return true;
  return isCredentials(at) || (field === "argv" && typeof index === "number" && index > 0);
}

export function mayHoldContainerSecret(at: SpecPath): boolean {
  return at[0] === "secretFiles" || isCredentials(at);
}

function isCredentials([field, name, ...deeper]: SpecPath): boolean {
  return field === "image" && name === "credentials" && deeper.length === 0;
}

/** The image archive that the release carries, where it is one. */
export function imageArtefactsOf({ image }: JsonObject): readonly string[] {
  const artefact = isPlainObject(image) ? image["artefact"] : undefined;
  return typeof artefact === "string" ? [artefact] : [];
}

export const IMAGE_FORM = { field: "image.artefact", is: "file" } as const;
