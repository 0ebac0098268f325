/**
 * The kind `process`: a program of the release that runs on the agent's host. Says what its spec may hold;
 * refuses commands as text (only argument lists), programs from outside of the release's artefact, variables
 * that change which code is loaded, and checks of anything but the process's own ports.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { isPlainObject, Shape } from "../shape.ts";
import type { KindRules, SpecPath, ValueType } from "./kind.ts";
import { PROCESS_RUNTIMES, readArgv } from "./process-argv.ts";
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

/** Counters that the process driver keeps for each resource. */
export const PROCESS_COUNTERS = ["cpu_ms", "uptime_s", "memory_mib_s"] as const;

/** A rendered spec with its defaults filled in. */
export type ProcessSpec = Readonly<{
  artefact: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Name of the file below the copy's secrets directory to the name of the declared secret. */
  secretFiles: Readonly<Record<string, string>>;
  ports: Readonly<Record<string, Readonly<{ fixed?: number }>>>;
  readiness?: ReadinessProbe;
  liveness?: LivenessProbe;
  limits: ProcessLimits;
  requests: ProcessRequests;
  /** Account of the host; undefined: the agent's own. */
  user?: string;
  /** What new files of the process are not given. */
  umask: number;
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

const ARTEFACT_NAME = { pattern: /^[a-z][a-z0-9-]{0,39}$/, allowed: "the name of an artefact" };
const PORT_NAME = { pattern: /^[a-z][a-z0-9-]{0,30}$/, allowed: "the name of a port in `ports`" };
/** By name, since a number means another account on each host. */
const USER = {
  pattern: /^(?!root$)[a-z_][a-z0-9_-]{0,31}$/,
  allowed: "the name of an account that is not root; nothing: the agent's own",
};
const UMASK = {
  pattern: /^0?0[0-7]{2}$/,
  allowed: 'three octal digits in quotes, the first 0, such as "027"',
};
const UMASK_DEFAULT = 0o077;

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
  const artefact = shape.text("artefact", ARTEFACT_NAME, true) ?? "";
  const argv = readArgv(shape);
  const env = readEnv(shape);
  const secretFiles = readSecretFiles(shape);
  const ports = readPorts(shape);
  const readiness = readReadiness(shape, ports);
  const liveness = readLiveness(shape, ports);
  const amounts = readAmounts(shape);
  const user = shape.text("user", USER);
  const umask = shape.text("umask", UMASK);
  const read: ProcessSpec = {
    artefact,
    argv,
    env,
    secretFiles,
    ports,
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
    ...amounts,
    ...(user !== undefined && { user }),
    umask: umask === undefined ? UMASK_DEFAULT : Number.parseInt(umask, 8),
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

/** `argv[0]` is always static; `argv[1]` too where a runtime takes it for the program. */
function isStatic(spec: JsonObject, at: SpecPath): boolean {
  const [field, index] = at;
  if (isAmount(at) || field === "env" || field === "secretFiles") return false;
  if (field !== "argv" || typeof index !== "number") return true;
  const program = Array.isArray(spec["argv"]) ? spec["argv"][0] : undefined;
  return index === 0 || (index === 1 && PROCESS_RUNTIMES.some((each) => each === program));
}

function portEntries(spec: JsonObject): readonly (readonly [string, unknown])[] {
  return isPlainObject(spec["ports"]) ? Object.entries(spec["ports"]) : [];
}

export const PROCESS_KIND: KindRules = {
  kind: "process",
  isStatic,
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
  counters: PROCESS_COUNTERS,
};
