/**
 * The worker's settings from its arguments and environment. All problems are told at once. A password never comes
 * through an argument, where every user of the machine could read it; it comes in a secret file.
 */
import { isAbsolute, join, normalize, sep } from "node:path";
import { isPostgres } from "./model.ts";

export type Settings = Readonly<{
  /** Path of a SQLite file or a PostgreSQL DSN; may hold a password, so never log it. */
  source: string;
  destination: string;
  seatsFile: string;
  /** 0: any free one. */
  httpPort: number;
  batchRows: number;
  pollMs: number;
  leaseMs: number;
  ratesFile: string | undefined;
  /** Label of this copy in lease and log. */
  copy: string;
}>;

export type Environment = Readonly<Record<string, string | undefined>>;
/** Reads a small text file, such as a secret. */
export type ReadText = (path: string) => string;

/** A lease lasts a minute at most, so that is how long a dead copy can hold up the next one. */
export const LEASE_MS_MAX = 60_000;
const BATCH_ROWS_MAX = 10_000;
const POLL_MS_MAX = 60_000;

export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** Throws SettingsError that names everything that is wrong, one line each. */
export function loadSettings(
  argv: readonly string[],
  env: Environment,
  readText: ReadText,
): Settings {
  const problems: string[] = [];
  const given = readFlags(argv, problems);
  const dataDir = env["HOLDFAST_DATA_DIR"] ?? "";
  const seatsFile = env["HOLDFAST_SEATS_FILE"] ?? "";
  if (dataDir === "") problems.push("HOLDFAST_DATA_DIR: not set; expected a directory");
  if (seatsFile === "") problems.push("HOLDFAST_SEATS_FILE: not set; expected a path");
  const number = (name: string, fallback: number, min: number, max: number) =>
    readInteger(env, problems, { name, fallback, min, max });
  const place = (flag: "source" | "destination", fallback: string) => {
    const secret = env[`HOLDFAST_SECRET_${flag.toUpperCase()}_DSN_FILE`];
    if (secret !== undefined) return readText(secret).trim();
    return readLocation(flag, given.get(flag) ?? fallback, dataDir, problems);
  };
  const settings = {
    source: place("source", ""),
    destination: place("destination", "warehouse.db"),
    seatsFile,
    httpPort: number("HOLDFAST_PORT_HTTP", 0, 0, 65_535),
    batchRows: number("BATCH_ROWS", 500, 1, BATCH_ROWS_MAX),
    pollMs: number("POLL_MS", 250, 10, POLL_MS_MAX),
    leaseMs: number("LEASE_MS", 3_000, 200, LEASE_MS_MAX),
    ratesFile: env["RATES_FILE"],
    copy: env["HOLDFAST_COPY"] ?? "worker",
  };
  if (problems.length > 0) throw new SettingsError(problems.join("\n"));
  return settings;
}

function readFlags(argv: readonly string[], problems: string[]): Map<string, string> {
  const given = new Map<string, string>();
  for (let at = 0; at < argv.length; at += 2) {
    const [flag = "", value] = [argv[at], argv[at + 1]];
    if (flag !== "--source" && flag !== "--destination") {
      problems.push(`${JSON.stringify(flag)}: not known; expected --source or --destination`);
    } else if (value === undefined) {
      problems.push(`${flag}: has no value`);
    } else {
      given.set(flag.slice(2), value);
    }
  }
  return given;
}

/** A file of the source may lie anywhere; the destination's stays inside the data directory. */
function readLocation(
  flag: "source" | "destination",
  value: string,
  dataDir: string,
  problems: string[],
): string {
  if (value === "") problems.push(`--${flag}: not given; expected a file or a postgresql:// DSN`);
  if (isPostgres(value)) {
    if (/\/\/[^/?@]*:[^/?@]*@|[?&]password=/.test(value)) {
      problems.push(
        `--${flag}: holds a password; give the DSN in the file HOLDFAST_SECRET_${flag.toUpperCase()}_DSN_FILE`,
      );
    }
    return value;
  }
  const path = normalize(value);
  const leaves = isAbsolute(path) ? !path.startsWith(dataDir + sep) : path.split(sep)[0] === "..";
  if (flag === "destination" && leaves) {
    problems.push("--destination: lies outside of HOLDFAST_DATA_DIR; expected a file inside it");
  }
  return isAbsolute(path) ? path : join(dataDir, path);
}

function readInteger(
  env: Environment,
  problems: string[],
  rule: Readonly<{ name: string; fallback: number; min: number; max: number }>,
): number {
  const given = env[rule.name];
  if (given === undefined) return rule.fallback;
  const value = /^\d{1,9}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= rule.min && value <= rule.max) return value;
  problems.push(
    `${rule.name}: got ${JSON.stringify(given.slice(0, 40))}; expected ${rule.min} to ${rule.max}`,
  );
  return rule.fallback;
}
