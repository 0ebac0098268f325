/**
 * The kind `container`: an image of the release, or of a registry by its digest, as containers of the host's engine.
 * Says what its spec may hold; refuses images by tag, commands as text, everything that would widen the restricted
 * profile, and host paths that no customer can have meant to give away.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { isPlainObject, Shape } from "../shape.ts";
import { type ImageSource, readImage } from "./container-image.ts";
import {
  type ContainerMount,
  type ContainerTmpfs,
  type ContainerVolume,
  readMounts,
} from "./container-mounts.ts";
import { type ContainerPort, readContainerPorts } from "./container-ports.ts";
import {
  type ContainerGpus,
  type ContainerUser,
  readContainerArgv,
  readGpus,
  readReadOnlyRoot,
  readUser,
  refuseReach,
} from "./container-reach.ts";
import type { KindRules, SpecPath, ValueType } from "./kind.ts";
import {
  isAmount,
  type ProcessLimits,
  type ProcessRequests,
  readAmounts,
} from "./process-limits.ts";
import {
  type LivenessProbe,
  type ReadinessProbe,
  readLiveness,
  readReadiness,
} from "./process-probes.ts";
import {
  type RestartRules,
  readEnv,
  readRestart,
  readSecretFiles,
  readStop,
  type StopRules,
} from "./workload.ts";

/** Counters that the container driver keeps for each resource. */
export const CONTAINER_COUNTERS = ["cpu_ms", "uptime_s", "memory_mib_s"] as const;
/**
 * Who starts a container again that has ended. `agent`: as a copy of its own, with the pauses of `restart`. The others
 * leave it to the engine, also while no agent runs, with the engine's own pauses.
 */
export const RESTART_POLICIES = ["agent", "on-failure", "always"] as const;

/** A rendered spec with its defaults filled in. */
export type ContainerSpec = Readonly<{
  image: ImageSource;
  /** Undefined: what the image itself runs. */
  argv?: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Name of the file below /run/holdfast/secrets to the name of the declared secret. */
  secretFiles: Readonly<Record<string, string>>;
  ports: Readonly<Record<string, ContainerPort>>;
  volumes: Readonly<Record<string, ContainerVolume>>;
  mounts: readonly ContainerMount[];
  tmpfs: readonly ContainerTmpfs[];
  readiness?: ReadinessProbe;
  liveness?: LivenessProbe;
  limits: ProcessLimits;
  requests: ProcessRequests;
  user: ContainerUser;
  readOnlyRoot: boolean;
  gpus?: ContainerGpus;
  stop: StopRules;
  restart: RestartRules & Readonly<{ policy: (typeof RESTART_POLICIES)[number] }>;
}>;

/** The engine refuses less. */
const MEMORY_MIB_MIN = 6;

/** All that is wrong with a template or a rendered spec; `path` names the spec in messages. */
export function checkContainerSpec(spec: unknown, path: string): readonly Violation[] {
  const found: Violation[] = [];
  readShape(spec, path, found);
  return found;
}

/** Throws INVALID_ARGUMENT `SPEC_INVALID` unless the rendered spec is sound. */
export function readContainerSpec(spec: unknown, path: string): ContainerSpec {
  const found: Violation[] = [];
  const read = readShape(spec, path, found);
  if (found.length > 0) throw invalid("SPEC_INVALID", found);
  return read;
}

function readShape(spec: unknown, path: string, found: Violation[]): ContainerSpec {
  const shape = new Shape(spec, path, found);
  refuseReach(shape);
  const image = readImage(shape);
  const argv = shape.has("argv") ? readContainerArgv(shape) : undefined;
  const env = readEnv(shape);
  const secretFiles = readSecretFiles(shape);
  const ports = readContainerPorts(shape);
  const probes = { argvOf: readContainerArgv, mayAskImage: true };
  const readiness = readReadiness(shape, ports, probes);
  const liveness = readLiveness(shape, ports, probes);
  const amounts = readAmounts(shape);
  const { memoryMib } = amounts.limits;
  if (memoryMib !== undefined && memoryMib < MEMORY_MIB_MIN) {
    shape.add("limits.memoryMib", "out of range", memoryMib, `${MEMORY_MIB_MIN} or more`);
  }
  const gpus = readGpus(shape);
  const read: ContainerSpec = {
    ...{ image, env, secretFiles, ports },
    ...readMounts(shape),
    ...(argv !== undefined && { argv }),
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
    ...amounts,
    user: readUser(shape),
    readOnlyRoot: readReadOnlyRoot(shape),
    ...(gpus && { gpus }),
    stop: readStop(shape),
    restart: readRestartPolicy(shape),
  };
  shape.finish();
  return read;
}

function readRestartPolicy(shape: Shape): ContainerSpec["restart"] {
  let policy: ContainerSpec["restart"]["policy"] = "agent";
  const pauses = readRestart(shape, (restart) => {
    policy = restart.choice("policy", RESTART_POLICIES) ?? policy;
  });
  return { ...pauses, policy };
}

/** What chooses code or reach is a constant of the release. */
function isStatic(_: JsonObject, at: SpecPath): boolean {
  const [field, index] = at;
  if (isAmount(at) || field === "env" || field === "secretFiles") return false;
  if (isCredentials(at)) return false;
  return field !== "argv" || typeof index !== "number" || index === 0;
}

function isCredentials([field, name, ...deeper]: SpecPath): boolean {
  return field === "image" && name === "credentials" && deeper.length === 0;
}

function portEntries(spec: JsonObject): readonly (readonly [string, unknown])[] {
  return isPlainObject(spec["ports"]) ? Object.entries(spec["ports"]) : [];
}

function isPublished(port: unknown): boolean {
  return isPlainObject(port) && port["publish"] !== false;
}

/** `host` is the name of the copy that serves, in the network of its instance. */
function outputsOf(spec: JsonObject): ReadonlyMap<string, ValueType> {
  const published = portEntries(spec).filter(([, port]) => isPublished(port));
  return new Map<string, ValueType>([
    ["host", "string"],
    ...published.map(([name]) => [`ports.${name}`, "integer"] as const),
  ]);
}

export const CONTAINER_KIND: KindRules = {
  kind: "container",
  isStatic,
  mayHoldSecret: (at) => at[0] === "secretFiles" || isCredentials(at),
  wantsInteger: isAmount,
  check: checkContainerSpec,
  outputsOf,
  portsOf: (spec) => portEntries(spec).flatMap(([name, port]) => (isPublished(port) ? [name] : [])),
  fixedPortsOf: (spec) =>
    portEntries(spec).flatMap(([name, port]) => {
      const fixed = isPlainObject(port) ? port["fixed"] : undefined;
      return typeof fixed === "number" ? [{ name, port: fixed }] : [];
    }),
  artefactsOf: ({ image }) => {
    const artefact = isPlainObject(image) ? image["artefact"] : undefined;
    return typeof artefact === "string" ? [artefact] : [];
  },
  artefactForm: { field: "image.artefact", is: "file" },
  counters: CONTAINER_COUNTERS,
};
