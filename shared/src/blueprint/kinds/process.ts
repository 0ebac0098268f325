/**
 * The kind `process`: a program of the release that runs on the agent's host. Says what its spec may hold;
 * refuses commands as text (only argument lists), programs from outside of the release's artefact, variables
 * that change which code is loaded, and checks of anything but the process's own ports.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { isPlainObject, Shape } from "../shape.ts";
import type { KindRules, ValueType } from "./kind.ts";
import { isAmount } from "./process-limits.ts";
import {
  type LivenessProbe,
  type ReadinessProbe,
  readLiveness,
  readReadiness,
} from "./process-probes.ts";
import { isOpenWord, PROGRAM_COUNTERS, type ProgramSpec, readProgram } from "./program.ts";
import { type RestartRules, readRestart, readStop, type StopRules } from "./workload.ts";

/** A rendered spec with its defaults filled in. */
export type ProcessSpec = ProgramSpec &
  Readonly<{
    ports: Readonly<Record<string, Readonly<{ fixed?: number }>>>;
    readiness?: ReadinessProbe;
    liveness?: LivenessProbe;
    stop: StopRules;
    restart: RestartRules;
  }>;

/**
 * Fields that are constants of the release: they choose code or reach. Expressions may stand only in argv after
 * the program, in the values of env, limits and requests, and (secrets alone) in the values of secretFiles.
 */
export const STATIC_FIELDS = [
  "artefact",
  "argv[0]",
  "argv[1] after a runtime",
  "ports",
  "readiness",
  "liveness",
  "user",
  "umask",
  "stop",
  "restart",
] as const;

const PORTS_MAX = 20;

const PORT_NAME = { pattern: /^[a-z][a-z0-9-]{0,30}$/, allowed: "the name of a port in `ports`" };
/** All that is wrong with a template or a rendered spec; `path` names the spec in messages. */
export function checkProcessSpec(spec: unknown, path: string): readonly Violation[] {
  const found: Violation[] = [];
  readShape(spec, path, found);
  return found;
}

/** Throws INVALID_ARGUMENT `SPEC_INVALID` unless the rendered spec is sound. */
export function readProcessSpec(spec: unknown, path: string): ProcessSpec {
  const found: Violation[] = [];
  const read = readShape(spec, path, found);
  if (found.length > 0) throw invalid("SPEC_INVALID", found);
  return read;
}

function readShape(spec: unknown, path: string, found: Violation[]): ProcessSpec {
  const shape = new Shape(spec, path, found);
  const program = readProgram(shape);
  const ports = readPorts(shape);
  const readiness = readReadiness(shape, ports);
  const liveness = readLiveness(shape, ports);
  const read: ProcessSpec = {
    ...program,
    ports,
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
    stop: readStop(shape),
    restart: readRestart(shape),
  };
  shape.finish();
  return read;
}

function readPorts(shape: Shape): ProcessSpec["ports"] {
  const ports: Record<string, { fixed?: number }> = {};
  const taken = new Set<number>();
  const map = shape.object("ports");
  for (const [name] of shape.entries("ports", PORTS_MAX)) {
    if (!PORT_NAME.pattern.test(name)) {
      map?.add(name, "not a port name", name, "a-z, 0-9 and -, at most 31, a letter first");
    }
    const port = map?.object(name);
    const fixed = port?.integer("fixed", { min: 1024, max: 65_535 });
    port?.finish();
    if (fixed !== undefined && taken.has(fixed))
      port?.add("fixed", "used twice", fixed, "a port of its own");
    if (fixed !== undefined) taken.add(fixed);
    ports[name] = fixed === undefined ? {} : { fixed };
  }
  return ports;
}

function portEntries(spec: JsonObject): readonly (readonly [string, unknown])[] {
  return isPlainObject(spec["ports"]) ? Object.entries(spec["ports"]) : [];
}

export const PROCESS_KIND: KindRules = {
  kind: "process",
  isStatic: (spec, at) => !isOpenWord(spec, at),
  mayHoldSecret: ([field]) => field === "secretFiles",
  wantsInteger: isAmount,
  check: checkProcessSpec,
  outputsOf: (spec) =>
    new Map(portEntries(spec).map(([name]) => [`ports.${name}`, "integer" satisfies ValueType])),
  portsOf: (spec) => portEntries(spec).map(([name]) => name),
  fixedPortsOf: (spec) =>
    portEntries(spec).flatMap(([name, port]) => {
      const fixed = isPlainObject(port) ? port["fixed"] : undefined;
      return typeof fixed === "number" ? [{ name, port: fixed }] : [];
    }),
  artefactsOf: (spec) => (typeof spec["artefact"] === "string" ? [spec["artefact"]] : []),
  counters: PROGRAM_COUNTERS,
};
