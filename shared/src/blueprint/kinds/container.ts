/**
 * The kind `container`: an image of the release, or of a registry by its digest, as containers of the host's engine.
 * Says what its spec may hold; refuses images by tag, commands as text, everything that would widen the restricted
 * profile, and host paths that no customer can have meant to give away.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { isPlainObject, Shape } from "../shape.ts";
import {
  CONTAINER_COUNTERS,
  type ContainerBody,
  IMAGE_FORM,
  imageArtefactsOf,
  isOpenInContainer,
  mayHoldContainerSecret,
  readContainerBody,
} from "./container-body.ts";
import { type ContainerPort, readContainerPorts } from "./container-ports.ts";
import { readContainerArgv } from "./container-reach.ts";
import type { KindRules, ValueType } from "./kind.ts";
import { isAmount } from "./process-limits.ts";
import {
  type LivenessProbe,
  type ReadinessProbe,
  readLiveness,
  readReadiness,
} from "./process-probes.ts";
import { type RestartRules, readRestart, readStop, type StopRules } from "./workload.ts";

/**
 * Who starts a container again that has ended. `agent`: as a copy of its own, with the pauses of `restart`. The others
 * leave it to the engine, also while no agent runs, with the engine's own pauses.
 */
export const RESTART_POLICIES = ["agent", "on-failure", "always"] as const;

/** A rendered spec with its defaults filled in. */
export type ContainerSpec = ContainerBody &
  Readonly<{
    ports: Readonly<Record<string, ContainerPort>>;
    readiness?: ReadinessProbe;
    liveness?: LivenessProbe;
    stop: StopRules;
    restart: RestartRules & Readonly<{ policy: (typeof RESTART_POLICIES)[number] }>;
  }>;

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
  const body = readContainerBody(shape);
  const ports = readContainerPorts(shape);
  const probes = { argvOf: readContainerArgv, mayAskImage: true };
  const readiness = readReadiness(shape, ports, probes);
  const liveness = readLiveness(shape, ports, probes);
  const read: ContainerSpec = {
    ...{ ...body, ports },
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
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
  isStatic: (_, at) => !isOpenInContainer(at),
  mayHoldSecret: mayHoldContainerSecret,
  wantsInteger: isAmount,
  check: checkContainerSpec,
  outputsOf,
  portsOf: (spec) => portEntries(spec).flatMap(([name, port]) => (isPublished(port) ? [name] : [])),
  fixedPortsOf: (spec) =>
    portEntries(spec).flatMap(([name, port]) => {
      const fixed = isPlainObject(port) ? port["fixed"] : undefined;
      return typeof fixed === "number" ? [{ name, port: fixed }] : [];
    }),
  artefactsOf: imageArtefactsOf,
  artefactForm: () => IMAGE_FORM,
  counters: CONTAINER_COUNTERS,
};
