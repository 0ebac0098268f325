/**
 * What every kind has that runs programs: its environment, its secrets as files, how it is stopped and how soon it is
 * started again. Refuses variables that choose code, and secrets anywhere but in a file.
 */
import { below, type Shape } from "../shape.ts";
import { scalarText } from "./process-argv.ts";
import { envNameProblem } from "./process-env.ts";

const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** `drainMs` lies between publishing the new copy and stopping the old one. */
export type StopRules = Readonly<{
  signal: (typeof STOP_SIGNALS)[number];
  graceMs: number;
  drainMs: number;
}>;
/** The first pause after a crash, and the longest. */
export type RestartRules = Readonly<{ baseMs: number; capMs: number }>;

const ENV_MAX = 200;
const SECRET_FILES_MAX = 50;
const DELAY_MS_MAX = 600_000;

const SECRET_REFERENCE = /^\$\{secrets\.([A-Za-z_][A-Za-z0-9_]{0,62})\}$/;

export function readEnv(shape: Shape): Readonly<Record<string, string>> {
  const read = shape.entries("env", ENV_MAX).map(([name, value]) => {
    const key = below("env", name);
    const problem = envNameProblem(name);
    if (problem !== undefined) shape.add(key, problem, name, "another name");
    return [name, scalarText(shape, key, value)] as const;
  });
  return Object.fromEntries(read);
}

export function readSecretFiles(shape: Shape): Readonly<Record<string, string>> {
  const read = shape.entries("secretFiles", SECRET_FILES_MAX).map(([name, value]) => {
    const key = below("secretFiles", name);
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
      shape.add(key, "not a file name", name, "a-z, 0-9 and _, at most 63, a letter first");
    }
    const secret = secretNamed(value);
    if (secret === undefined) {
      shape.add(key, "not a reference to a secret", "", `\${secrets.NAME} and nothing else`);
    }
    return [name, secret ?? ""] as const;
  });
  return Object.fromEntries(read);
}

/** The declared secret that a value names and nothing else. */
export function secretNamed(value: unknown): string | undefined {
  return typeof value === "string" ? SECRET_REFERENCE.exec(value)?.[1] : undefined;
}

export function readStop(shape: Shape): StopRules {
  const stop = shape.object("stop");
  const delay = { min: 0, max: DELAY_MS_MAX };
  const read = {
    signal: stop?.choice("signal", STOP_SIGNALS) ?? "SIGTERM",
    graceMs: stop?.integer("graceMs", delay) ?? 10_000,
    drainMs: stop?.integer("drainMs", delay) ?? 0,
  };
  stop?.finish();
  return read;
}

/** `more` reads further fields of it before unknown ones are refused. */
export function readRestart(shape: Shape, more?: (restart: Shape) => void): RestartRules {
  const restart = shape.object("restart");
  const pause = { min: 10, max: DELAY_MS_MAX };
  const baseMs = restart?.integer("baseMs", pause) ?? 500;
  const capMs = restart?.integer("capMs", pause) ?? 30_000;
  if (capMs < baseMs) restart?.add("capMs", "smaller than baseMs", capMs, `${baseMs} or more`);
  if (restart !== undefined) more?.(restart);
  restart?.finish();
  return { baseMs, capMs };
}
