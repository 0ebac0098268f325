/**
 * Probes of a process: HTTP and TCP on its own ports, or a program of its own artefact. Refuses other hosts, shells,
 * and intervals and limits by which a probe would never end or never be believed.
 */
import type { Shape } from "../shape.ts";
import { readArgv } from "./process-argv.ts";

export type ProbeTarget = Readonly<{
  http?: { port: string; path: string };
  tcp?: { port: string };
  /** Exit status 0 says yes. Started like the process itself, with its environment. */
  exec?: { argv: readonly string[] };
  /** The health check that the image itself declares, where the kind has images. */
  image?: Readonly<Record<string, never>>;
}>;
/** What of a probe another kind has in another way. */
export type ProbeRules = Readonly<{
  argvOf(shape: Shape): readonly string[];
  mayAskImage: boolean;
}>;
/** Exactly one target is set. `intervalMs` runs from the end of one probe to the next. */
export type ReadinessProbe = ProbeTarget &
  Readonly<{ intervalMs: number; timeoutMs: number; deadlineMs: number }>;
export type LivenessProbe = ProbeTarget &
  Readonly<{ intervalMs: number; timeoutMs: number; failures: number }>;

type Ports = Readonly<Record<string, unknown>>;
type Probe = Readonly<{ shape: Shape; target: ProbeTarget }>;

/** A probe by a program starts a process each time. */
export const EXEC_INTERVAL_MS_MIN = 500;
/** Two of them, one after the other, must end before the agent gives up its look at the health of a copy. */
export const EXEC_TIMEOUT_MS_MAX = 4_000;

const TARGETS = { http: "http: {port, path}", tcp: "tcp: {port}", exec: "exec: {argv}" } as const;
const IMAGE_TARGET = "image: {}";
const OF_PROCESSES: ProbeRules = { argvOf: readArgv, mayAskImage: false };
const PORT_NAME = { pattern: /^[a-z][a-z0-9-]{0,30}$/, allowed: "the name of a port in `ports`" };
const HTTP_PATH = {
  pattern: /^\/(?!\/)[\x21-\x5b\x5d-\x7e]{0,1023}$/,
  allowed: "a path that begins with one /, without spaces and backslashes, at most 1024 characters",
};
/** A release may carry one, but a probe by it is a command as text after all. */
const SHELL = /(?:^|\/)(?:a|ba|c|da|fi|k|mk|tc|z|po)?sh$|(?:^|\/)(?:busybox|pwsh|nu)$/;

/** Probes of readiness run one after the other, so a timeout may be longer than the pause between two. */
export function readReadiness(
  parent: Shape,
  ports: Ports,
  rules = OF_PROCESSES,
): ReadinessProbe | undefined {
  const probe = readProbe(parent, "readiness", ports, rules);
  if (probe === undefined) return undefined;
  const { shape, target } = probe;
  const isExec = target.exec !== undefined;
  const least = isExec ? EXEC_INTERVAL_MS_MIN : 20;
  const intervalMs =
    shape.integer("intervalMs", { min: least, max: 60_000 }) ?? (isExec ? 1_000 : 200);
  const timeoutMs = readTimeout(probe) ?? 1_000;
  const deadlineMs = shape.integer("deadlineMs", { min: 100, max: 3_600_000 }) ?? 30_000;
  if (timeoutMs > deadlineMs) {
    shape.add("timeoutMs", "longer than deadlineMs", timeoutMs, `at most ${deadlineMs}`);
  }
  shape.finish();
  return { ...target, intervalMs, timeoutMs, deadlineMs };
}

export function readLiveness(
  parent: Shape,
  ports: Ports,
  rules = OF_PROCESSES,
): LivenessProbe | undefined {
  const probe = readProbe(parent, "liveness", ports, rules);
  if (probe === undefined) return undefined;
  const { shape, target } = probe;
  const least = target.exec === undefined ? 100 : EXEC_INTERVAL_MS_MIN;
  const intervalMs = shape.integer("intervalMs", { min: least, max: 600_000 }) ?? 5_000;
  const timeoutMs = readTimeout(probe) ?? Math.min(2_000, intervalMs);
  const failures = shape.integer("failures", { min: 1, max: 100 }) ?? 3;
  if (timeoutMs > intervalMs) {
    shape.add("timeoutMs", "longer than intervalMs", timeoutMs, `at most ${intervalMs}`);
  }
  shape.finish();
  return { ...target, intervalMs, timeoutMs, failures };
}

function readTimeout({ shape, target }: Probe): number | undefined {
  const max = target.exec === undefined ? 60_000 : EXEC_TIMEOUT_MS_MAX;
  return shape.integer("timeoutMs", { min: 20, max });
}

function readProbe(
  parent: Shape,
  key: string,
  ports: Ports,
  { argvOf, mayAskImage }: ProbeRules,
): Probe | undefined {
  const shape = parent.object(key);
  if (shape === undefined) return undefined;
  const known = { ...TARGETS, ...(mayAskImage && { image: IMAGE_TARGET }) };
  const given = Object.keys(known).filter((name) => shape.has(name));
  if (given.length !== 1) {
    const count = given.length === 0 ? "" : `: has ${given.join(" and ")}`;
    const rule = `one of ${Object.values(known).join(", ")}`;
    parent.add(key, `needs one kind of check${count}`, "", rule);
  }
  const http = shape.object("http");
  const tcp = shape.object("tcp");
  const exec = readExec(shape, argvOf);
  const image = mayAskImage ? shape.object("image") : undefined;
  image?.finish();
  const target = {
    ...(http && {
      http: { port: portIn(http, ports), path: http.text("path", HTTP_PATH, true) ?? "/" },
    }),
    ...(tcp && { tcp: { port: portIn(tcp, ports) } }),
    ...(exec && { exec }),
    ...(image && { image: {} }),
  };
  http?.finish();
  tcp?.finish();
  return { shape, target };
}

function portIn(from: Shape, ports: Ports): string {
  const name = from.text("port", PORT_NAME, true);
  if (name !== undefined && !Object.hasOwn(ports, name)) {
    from.add("port", "not declared", name, Object.keys(ports).join(", ") || "a port in `ports`");
  }
  return name ?? "";
}

function readExec(shape: Shape, argvOf: ProbeRules["argvOf"]): ProbeTarget["exec"] {
  const exec = shape.object("exec");
  if (exec === undefined) return undefined;
  const argv = argvOf(exec);
  const [program = ""] = argv;
  if (SHELL.test(program)) {
    exec.add("argv[0]", "a shell", program, "a program that needs none, or node and a script");
  }
  exec.finish();
  return { argv };
}
