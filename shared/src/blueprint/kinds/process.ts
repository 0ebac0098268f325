/**
 * The kind `process`: a program of the release that runs on the agent's host. Says what its spec may hold;
 * refuses commands as text (only argument lists), programs from outside of the release's artefact, variables
 * that change which code is loaded, and checks of anything but the process's own ports.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { below, isPlainObject, Shape } from "../shape.ts";
import type { KindRules, SpecPath, ValueType } from "./kind.ts";
import { PROCESS_RUNTIMES, readArgv, scalarText } from "./process-argv.ts";
import { envNameProblem } from "./process-env.ts";
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

export const STOP_SIGNALS = [
  "SIGTERM",
  "SIGINT",
  "SIGQUIT",
  "SIGHUP",
  "SIGUSR1",
  "SIGUSR2",
] as const;
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
  /** `drainMs` lies between publishing the new copy and stopping the old one. */
  stop: Readonly<{ signal: (typeof STOP_SIGNALS)[number]; graceMs: number; drainMs: number }>;
  restart: Readonly<{ baseMs: number; capMs: number }>;
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

const ENV_MAX = 200;
const SECRET_FILES_MAX = 50;
const PORTS_MAX = 20;
const DELAY_MS_MAX = 600_000;

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
const SECRET_REFERENCE = /^\$\{secrets\.([A-Za-z_][A-Za-z0-9_]{0,62})\}$/;
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
  const stop = shape.object("stop");
  const restart = shape.object("restart");
  const delay = { min: 0, max: DELAY_MS_MAX };
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
    stop: {
      signal: stop?.choice("signal", STOP_SIGNALS) ?? "SIGTERM",
      graceMs: stop?.integer("graceMs", delay) ?? 10_000,
      drainMs: stop?.integer("drainMs", delay) ?? 0,
    },
    restart: {
      baseMs: restart?.integer("baseMs", { min: 10, max: DELAY_MS_MAX }) ?? 500,
      capMs: restart?.integer("capMs", { min: 10, max: DELAY_MS_MAX }) ?? 30_000,
    },
  };
  if (read.restart.capMs < read.restart.baseMs) {
    restart?.add(
      "capMs",
      "smaller than baseMs",
      read.restart.capMs,
      `${read.restart.baseMs} or more`,
    );
  }
  for (const each of [stop, restart]) each?.finish();
  shape.finish();
  return read;
}

function readEnv(shape: Shape): Readonly<Record<string, string>> {
  const read = shape.entries("env", ENV_MAX).map(([name, value]) => {
    const key = below("env", name);
    const problem = envNameProblem(name);
    if (problem !== undefined) shape.add(key, problem, name, "another name");
    return [name, scalarText(shape, key, value)] as const;
  });
  return Object.fromEntries(read);
}

function readSecretFiles(shape: Shape): Readonly<Record<string, string>> {
  const read = shape.entries("secretFiles", SECRET_FILES_MAX).map(([name, value]) => {
    const key = below("secretFiles", name);
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
      shape.add(key, "not a file name", name, "a-z, 0-9 and _, at most 63, a letter first");
    }
    const secret = typeof value === "string" ? SECRET_REFERENCE.exec(value)?.[1] : undefined;
    if (secret === undefined) {
      shape.add(key, "not a reference to a secret", "", `\${secrets.NAME} and nothing else`);
    }
    return [name, secret ?? ""] as const;
  });
  return Object.fromEntries(read);
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
