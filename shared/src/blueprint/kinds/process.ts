/**
 * The kind `process`: a program of the release that runs on the agent's host. Says what its spec may hold;
 * refuses commands as text (only argument lists), programs from outside of the release's artefact, variables
 * that change which code is loaded, and checks of anything but the process's own ports.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { below, isPlainObject, Shape } from "../shape.ts";
import type { KindRules, SpecPath, ValueType } from "./kind.ts";
import { envNameProblem } from "./process-env.ts";

/** Names that argv[0] may have besides a path inside the artefact; `node` is the agent's own Node. */
export const PROCESS_RUNTIMES = ["node"] as const;
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

export type ProbeTarget = Readonly<{
  http?: { port: string; path: string };
  tcp?: { port: string };
}>;
/** Exactly one of `http` and `tcp` is set. `intervalMs` runs from the end of one probe to the next. */
export type ReadinessProbe = ProbeTarget &
  Readonly<{ intervalMs: number; timeoutMs: number; deadlineMs: number }>;
export type LivenessProbe = ProbeTarget &
  Readonly<{ intervalMs: number; timeoutMs: number; failures: number }>;

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
  /** `drainMs` lies between publishing the new copy and stopping the old one. */
  stop: Readonly<{ signal: (typeof STOP_SIGNALS)[number]; graceMs: number; drainMs: number }>;
  restart: Readonly<{ baseMs: number; capMs: number }>;
}>;

/**
 * Fields that are constants of the release: they choose code or reach. Expressions may stand only in argv after
 * the program, in the values of env, and (secrets alone) in the values of secretFiles.
 */
export const STATIC_FIELDS = [
  "artefact",
  "argv[0]",
  "argv[1] after a runtime",
  "ports",
  "readiness",
  "liveness",
  "stop",
  "restart",
] as const;

const ARGV_MAX = 256;
/** Linux takes 128 KiB for one argument (MAX_ARG_STRLEN). */
const ARGUMENT_CHARS_MAX = 32_768;
const ENV_MAX = 200;
const SECRET_FILES_MAX = 50;
const PORTS_MAX = 20;
const DELAY_MS_MAX = 600_000;

const ARTEFACT_NAME = { pattern: /^[a-z][a-z0-9-]{0,39}$/, allowed: "the name of an artefact" };
const PORT_NAME = { pattern: /^[a-z][a-z0-9-]{0,30}$/, allowed: "the name of a port in `ports`" };
const HTTP_PATH = {
  pattern: /^\/(?!\/)[\x21-\x5b\x5d-\x7e]{0,1023}$/,
  allowed: "a path that begins with one /, without spaces and backslashes, at most 1024 characters",
};
const SECRET_REFERENCE = /^\$\{secrets\.([A-Za-z_][A-Za-z0-9_]{0,62})\}$/;
const PROGRAM_RULE = `${PROCESS_RUNTIMES.join(", ")} or a relative path inside the artefact, without . and ..`;

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
  const readiness = readProbe(shape, "readiness", ports);
  const liveness = readProbe(shape, "liveness", ports);
  const stop = shape.object("stop");
  const restart = shape.object("restart");
  const delay = { min: 0, max: DELAY_MS_MAX };
  const read: ProcessSpec = {
    artefact,
    argv,
    env,
    secretFiles,
    ports,
    ...(readiness && { readiness: readReadiness(readiness) }),
    ...(liveness && { liveness: readLiveness(liveness) }),
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
  for (const each of [stop, restart, readiness?.shape, liveness?.shape]) each?.finish();
  shape.finish();
  return read;
}

function readArgv(shape: Shape): readonly string[] {
  const given = shape.raw("argv");
  if (typeof given === "string") {
    shape.add(
      "argv",
      "a command as text",
      given,
      'a list of arguments, such as ["node", "main.mjs"]',
    );
    return [];
  }
  const argv = shape.list("argv", ARGV_MAX, true).map((each, i) => argument(shape, i, each));
  if (shape.has("argv") && argv.length === 0) {
    shape.add("argv", "empty", "", "the program first, then its arguments");
  }
  const [program, script] = argv;
  const isRuntime = PROCESS_RUNTIMES.some((each) => each === program);
  if (program !== undefined && !isRuntime && !isInnerPath(program)) {
    shape.add("argv[0]", "the program is not part of the release", program, PROGRAM_RULE);
  }
  if (isRuntime && (script === undefined || !isInnerPath(script))) {
    const rule = "a relative path inside the artefact, without . and .., not an option";
    shape.add("argv[1]", `what ${program} runs is not part of the release`, script ?? "", rule);
  }
  return argv;
}

function argument(shape: Shape, index: number, value: unknown): string {
  return scalarText(shape, `argv[${index}]`, value);
}

/** A whole-value expression keeps its type, so a rendered argument may be a number or a boolean. */
function scalarText(shape: Shape, key: string, value: unknown): string {
  const text = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  if (typeof text !== "string") {
    shape.add(key, "not text", value, "text, a number, true or false");
    return "";
  }
  if (text.includes("\0")) shape.add(key, "has a NUL character", text, "text without NUL");
  if (text.length > ARGUMENT_CHARS_MAX) {
    shape.add(key, `${text.length} characters are too many`, "", `at most ${ARGUMENT_CHARS_MAX}`);
  }
  return text;
}

/** Whether the text names something inside a directory whatever stands in that directory. */
export function isInnerPath(text: string): boolean {
  if (text.length > 255 || !/^[A-Za-z0-9_][A-Za-z0-9_./@+-]*$/.test(text)) return false;
  return text.split("/").every((name) => name !== "" && name !== "." && name !== "..");
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

type Probe = Readonly<{ shape: Shape; target: ProbeTarget }>;

function readProbe(parent: Shape, key: string, ports: ProcessSpec["ports"]): Probe | undefined {
  const shape = parent.object(key);
  if (shape === undefined) return undefined;
  if (shape.has("http") === shape.has("tcp")) {
    parent.add(key, "needs one kind of check", "", "http: {port, path} or tcp: {port}, not both");
  }
  const http = shape.object("http");
  const tcp = shape.object("tcp");
  const port = (from: Shape) => {
    const name = from.text("port", PORT_NAME, true);
    if (name !== undefined && !Object.hasOwn(ports, name)) {
      from.add("port", "not declared", name, Object.keys(ports).join(", ") || "a port in `ports`");
    }
    return name ?? "";
  };
  const target = {
    ...(http && { http: { port: port(http), path: http.text("path", HTTP_PATH, true) ?? "/" } }),
    ...(tcp && { tcp: { port: port(tcp) } }),
  };
  http?.finish();
  tcp?.finish();
  return { shape, target };
}

/** Probes of readiness run one after the other, so a timeout may be longer than the pause between two. */
function readReadiness({ shape, target }: Probe): ReadinessProbe {
  const intervalMs = shape.integer("intervalMs", { min: 20, max: 60_000 }) ?? 200;
  const timeoutMs = shape.integer("timeoutMs", { min: 20, max: 60_000 }) ?? 1_000;
  const deadlineMs = shape.integer("deadlineMs", { min: 100, max: 3_600_000 }) ?? 30_000;
  if (timeoutMs > deadlineMs) {
    shape.add("timeoutMs", "longer than deadlineMs", timeoutMs, `at most ${deadlineMs}`);
  }
  return { ...target, intervalMs, timeoutMs, deadlineMs };
}

function readLiveness({ shape, target }: Probe): LivenessProbe {
  const intervalMs = shape.integer("intervalMs", { min: 100, max: 600_000 }) ?? 5_000;
  const timeoutMs =
    shape.integer("timeoutMs", { min: 20, max: 60_000 }) ?? Math.min(2_000, intervalMs);
  const failures = shape.integer("failures", { min: 1, max: 100 }) ?? 3;
  if (timeoutMs > intervalMs) {
    shape.add("timeoutMs", "longer than intervalMs", timeoutMs, `at most ${intervalMs}`);
  }
  return { ...target, intervalMs, timeoutMs, failures };
}

/** `argv[0]` is always static; `argv[1]` too where a runtime takes it for the program. */
function isStatic(spec: JsonObject, [field, index]: SpecPath): boolean {
  if (field === "env" || field === "secretFiles") return false;
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
