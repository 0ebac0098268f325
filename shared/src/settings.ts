/**
 * Reads a program's settings from a configuration file's value and the environment. Pure: the caller reads the
 * file and hands in the environment. The environment wins; all problems come at once; unknown keys are refused
 * with a suggestion; no value is bent into another type.
 */
import { isAbsolute, resolve } from "node:path";
import { DURATION_RULE, durationMs } from "./duration.ts";
import { Fault, invalid, VIOLATIONS_MAX, type Violation } from "./fault.ts";
import { shown, suggestion } from "./text.ts";

/** Why a value cannot be used. Thrown by `Setting.read` only, and turned into a violation. */
export class SettingProblem extends Error {}

/** Where a value stands: `base` is the directory that relative paths start from. */
export type SettingOrigin = Readonly<{ from: "file" | "env"; base: string }>;

/** How one key is read. */
export type Setting<T> = Readonly<{
  /** For people: what is accepted. */
  rule: string;
  /** Values of a secret setting are never shown. */
  isSecret: boolean;
  isRequired: boolean;
  fallback: T;
  /** Throws SettingProblem. */
  read(value: unknown, origin: SettingOrigin): T;
}>;

export type SettingSpecs = Readonly<Record<string, Setting<unknown>>>;
export type SettingValues<S extends SettingSpecs> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never;
};

export type SettingSources = Readonly<{
  /** The file's content as `parseYaml` gives it; null or undefined where there is no file. */
  file: unknown;
  /** Named in messages. */
  fileName: string;
  /** Directory of the file: relative paths in it start here. */
  fileDirectory: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Such as `HOLDFAST_HUB_`; the rest of the name is the key in upper case. */
  envPrefix: string;
  /** Variables with the prefix that mean something else. */
  envIgnored?: readonly string[];
  /** Relative paths in the environment start here. */
  workingDirectory: string;
}>;

export type Settings<T> = Readonly<{ values: T; warnings: readonly string[] }>;

/** Throws INVALID_ARGUMENT `CONFIG_INVALID` that names every problem (at most 20). */
export function readSettings<S extends SettingSpecs>(
  specs: S,
  sources: SettingSources,
): Settings<SettingValues<S>> {
  const problems: Violation[] = [];
  const warnings: string[] = [];
  const file = fileEntries(sources, problems);
  problems.push(...unknownKeys(specs, sources, Object.keys(file)));
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(specs)) {
    const variable = sources.envPrefix + key.toUpperCase();
    const fromEnv = trimmed(variable, sources.env[variable], warnings);
    const given = fromEnv ?? file[key] ?? undefined;
    const from = fromEnv === undefined ? "file" : "env";
    const path = from === "env" ? variable : `${sources.fileName}: ${key}`;
    values[key] = setting.fallback;
    if (given === undefined) {
      if (setting.isRequired) problems.push(missing(key, variable, setting, sources));
      continue;
    }
    const base = from === "env" ? sources.workingDirectory : sources.fileDirectory;
    try {
      values[key] = setting.read(given, { from, base });
    } catch (error) {
      if (!(error instanceof SettingProblem)) throw error;
      const got = setting.isSecret ? "" : `; got ${shown(given)}`;
      problems.push({ path, message: `${error.message}${got}; allowed: ${setting.rule}` });
    }
  }
  if (problems.length > 0) throw invalid("CONFIG_INVALID", problems.slice(0, VIOLATIONS_MAX));
  return { values: values as SettingValues<S>, warnings };
}

function fileEntries(sources: SettingSources, problems: Violation[]): Record<string, unknown> {
  const { file, fileName } = sources;
  if (file === null || file === undefined) return {};
  if (typeof file === "object" && !Array.isArray(file)) return file as Record<string, unknown>;
  problems.push({
    path: fileName,
    message: `got ${shown(file)}; allowed: a map of keys to values`,
  });
  return {};
}

function unknownKeys(
  specs: SettingSpecs,
  { fileName, env, envPrefix, envIgnored = [] }: SettingSources,
  fileKeys: readonly string[],
): readonly Violation[] {
  const known = Object.keys(specs);
  const hint = (word: string | undefined) =>
    word === undefined ? `; known: ${known.join(", ")}` : `; did you mean ${word}?`;
  const inFile = fileKeys
    .filter((key) => !Object.hasOwn(specs, key))
    .map((key) => ({
      path: `${fileName}: ${shown(key)}`,
      message: `unknown key${hint(suggestion(key, known))}`,
    }));
  const variables = known.map((key) => envPrefix + key.toUpperCase());
  const inEnv = Object.keys(env)
    .filter((name) => name.startsWith(envPrefix))
    .filter((name) => !variables.includes(name) && !envIgnored.includes(name))
    .map((name) => ({
      path: shown(name),
      message: `unknown variable${hint(suggestion(name, variables))}`,
    }));
  return [...inFile, ...inEnv];
}

function trimmed(name: string, text: string | undefined, warnings: string[]): string | undefined {
  if (text === undefined) return undefined;
  const clean = text.trim();
  if (clean !== text) warnings.push(`${name}: white space around the value was removed`);
  return clean === "" ? undefined : clean;
}

function missing(
  key: string,
  variable: string,
  { rule }: Setting<unknown>,
  { fileName }: SettingSources,
): Violation {
  return {
    path: `${fileName}: ${key}`,
    message: `required; set it here or in ${variable}; allowed: ${rule}`,
  };
}

type Common<T> = Readonly<{ fallback?: T }>;

function setting<T>(
  rule: string,
  options: Common<T> & Readonly<{ isRequired?: boolean; isSecret?: boolean }>,
  read: Setting<T>["read"],
): Setting<T> {
  const { fallback, isRequired = false, isSecret = false } = options;
  // Without a fallback the type says `T | undefined`, except where the value is required.
  return { rule, isSecret, isRequired, fallback: fallback as T, read };
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new SettingProblem("not text");
  if (value === "") throw new SettingProblem("empty");
  return value;
}

const TEXT_CHARS_MAX = 4096;
type StringOptions = Readonly<{ charsMax?: number; pattern?: RegExp; rule?: string }>;

/** Text of 1 to `charsMax` (default 4096) characters. */
function text<F extends string | undefined = undefined>(
  options: StringOptions & Readonly<{ fallback?: F; isSecret?: boolean }> = {},
): Setting<string | F> {
  const {
    charsMax = TEXT_CHARS_MAX,
    pattern,
    rule = `text of 1 to ${charsMax} characters`,
  } = options;
  return setting<string | F>(rule, options, (value) => {
    const found = textOf(value);
    if (found.length > charsMax)
      throw new SettingProblem(`${found.length} characters are too many`);
    if (pattern !== undefined && !pattern.test(found)) throw new SettingProblem("not of this form");
    return found;
  });
}

/** One of a closed list of words. */
function choice<const W extends string>(
  words: readonly W[],
  options: Readonly<{ fallback: W }>,
): Setting<W> {
  return setting<W>(words.join(", "), options, (value) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw new SettingProblem("unknown word");
    return found;
  });
}

type IntegerOptions<F> = Readonly<{ min: number; max: number; fallback?: F }>;

/** A whole number in decimal. Text is accepted from the environment only. */
function integer<F extends number | undefined = undefined>(
  options: IntegerOptions<F>,
): Setting<number | F> {
  const { min, max } = options;
  return setting<number | F>(`a whole number from ${min} to ${max}`, options, (value, { from }) => {
    const isText = from === "env" && typeof value === "string" && /^-?(0|[1-9]\d*)$/.test(value);
    const number = isText ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number)) {
      throw new SettingProblem("not a whole number");
    }
    if (number < min || number > max) throw new SettingProblem("out of range");
    return number;
  });
}

/** true or false. Text is accepted from the environment only. */
function boolean(options: Readonly<{ fallback: boolean }>): Setting<boolean> {
  return setting<boolean>("true or false", options, (value, { from }) => {
    if (typeof value === "boolean") return value;
    if (from === "env" && (value === "true" || value === "false")) return value === "true";
    throw new SettingProblem("neither true nor false");
  });
}

export type ListenAddress = Readonly<{ host: string; port: number }>;

/** `HOST:PORT`, `[IPv6]:PORT`; port 0 takes a free one. */
function listen<F extends ListenAddress | undefined = undefined>(
  options: Readonly<{ fallback?: F; isLoopbackOnly?: boolean }> = {},
): Setting<ListenAddress | F> {
  const where = options.isLoopbackOnly ? "HOST:PORT on loopback" : "HOST:PORT";
  return setting<ListenAddress | F>(`${where}, port 0 to 65535`, options, (value) => {
    const found = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(0|[1-9]\d{0,4})$/.exec(
      textOf(value),
    );
    if (found === null) throw new SettingProblem("not of this form");
    const host = found[1] ?? found[2] ?? "";
    const port = Number(found[3]);
    if (port > 65_535) throw new SettingProblem("port out of range");
    if (options.isLoopbackOnly && !isLoopback(host))
      throw new SettingProblem("not a loopback address");
    return { host, port };
  });
}

/** Whether the host can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

export type UrlOptions = Readonly<{
  /** With the colon, such as `https:`. */
  protocols: readonly string[];
  /** Default false: credentials in a URL end up in logs. */
  mayHaveCredentials?: boolean;
  mayHavePath?: boolean;
  /** Default true; false where a certificate must name the host. */
  mayBeIpAddress?: boolean;
}>;

/** A URL, each refusal with its own text. A URL that may have credentials is never shown. */
function url<F extends URL | undefined = undefined>(
  options: UrlOptions & Readonly<{ fallback?: F }>,
): Setting<URL | F> {
  const schemes = options.protocols.map((each) => `${each}//`).join(" or ");
  // A value that may hold credentials, or that wrongly does, must not be shown.
  const secrecy = { ...options, isSecret: true };
  return setting<URL | F>(`a URL that begins with ${schemes}`, secrecy, (value) => {
    const given = textOf(value);
    if (!URL.canParse(given)) throw new SettingProblem("not a URL");
    const parsed = new URL(given);
    const problem = urlProblem(parsed, options);
    if (problem !== undefined) throw new SettingProblem(problem);
    return parsed;
  });
}

function urlProblem(parsed: URL, options: UrlOptions): string | undefined {
  const { protocols, mayHaveCredentials = false, mayHavePath = false } = options;
  const only = protocols.map((each) => each.slice(0, -1)).join(" or ");
  if (!protocols.includes(parsed.protocol)) {
    return `${only} only; got ${shown(parsed.protocol)}//`;
  }
  if (!mayHaveCredentials && (parsed.username !== "" || parsed.password !== "")) {
    return "a URL must not hold credentials; use a token file";
  }
  if (!mayHavePath && (!["", "/"].includes(parsed.pathname) || parsed.search || parsed.hash)) {
    return `nothing may follow the host; got ${shown(parsed.pathname)}`;
  }
  const isIp = /^(\[.*\]|\d+(\.\d+){3})$/.test(parsed.hostname);
  if (options.mayBeIpAddress === false && isIp) {
    return `an IP address needs a pinned certificate; got ${shown(parsed.hostname)}`;
  }
  return undefined;
}

/** A path, made absolute against the file's or the working directory. */
function path<F extends string | undefined = undefined>(
  options: Readonly<{ fallback?: F }> = {},
): Setting<string | F> {
  return setting<string | F>("a path", options, (value, { base }) => {
    const given = textOf(value);
    if (given.includes("\0")) throw new SettingProblem("has a NUL character");
    return isAbsolute(given) ? given : resolve(base, given);
  });
}

/** A duration with its unit, in milliseconds. */
function duration<F extends number | undefined = undefined>(
  options: Readonly<{ minMs: number; maxMs: number; fallback?: F }>,
): Setting<number | F> {
  const { minMs, maxMs } = options;
  const rule = `${DURATION_RULE}; from ${minMs}ms to ${maxMs}ms`;
  return setting<number | F>(rule, options, (value) => {
    if (typeof value === "number") throw new SettingProblem("a unit is required");
    const given = textOf(value);
    const ms = durationMs(given);
    if (ms === undefined) {
      throw new SettingProblem(/^\d+$/.test(given) ? "a unit is required" : "not a duration");
    }
    if (ms < minMs || ms > maxMs) throw new SettingProblem("out of range");
    return ms;
  });
}

/** A list of text; in the environment separated by commas. */
function list(
  options: Readonly<{ itemsMax: number; fallback?: readonly string[] }>,
): Setting<readonly string[]> {
  const { itemsMax, fallback = [] } = options;
  const rule = `a list of at most ${itemsMax} words`;
  return setting<readonly string[]>(rule, { fallback }, (value, { from }) => {
    const items = from === "env" && typeof value === "string" ? value.split(",") : value;
    if (!Array.isArray(items)) throw new SettingProblem("not a list");
    if (items.length > itemsMax) throw new SettingProblem(`${items.length} are too many`);
    return items.map((item) => textOf(typeof item === "string" ? item.trim() : item));
  });
}

/** Without the key the program does not start. */
function required<T>(of: Setting<T | undefined>): Setting<T> {
  return { ...of, isRequired: true } as Setting<T>;
}

/** The kinds of settings, such as `settings.required(settings.path())`. */
export const settings = {
  text,
  choice,
  integer,
  boolean,
  listen,
  url,
  path,
  duration,
  list,
  required,
} as const;

const ERRNO_MEANINGS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is not a directory",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "too many open files",
  ENOSPC: "no space left on the device",
  EROFS: "the file system is read-only",
  EEXIST: "it exists already",
  EADDRINUSE: "another program listens there",
  EADDRNOTAVAIL: "this machine has no such address",
};

/** A token that was given where a file is to be named: "no such file" would print the secret. */
const TOKEN_LIKE = /(^|\/)hf[a-z]_[A-Za-z0-9_-]{16,}$/;

/** For people: what an operating system error means, with its code. */
export function errnoMeaning(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const meaning = ERRNO_MEANINGS[code];
  if (meaning !== undefined) return `${meaning} (${code})`;
  return code === "" ? "it cannot be used" : code;
}

/**
 * The refusal of a file that cannot be read: INVALID_ARGUMENT `FILE_UNREADABLE`, with path and meaning, or
 * `SECRET_IN_ARGUMENT` without either if the "path" is a token.
 */
export function unreadable(what: string, file: string, error: unknown): Fault {
  if (TOKEN_LIKE.test(file)) {
    const rule = "arguments are visible to other users; write it to a file and name that";
    return new Fault("INVALID_ARGUMENT", "SECRET_IN_ARGUMENT", `${what}: got a token; ${rule}`);
  }
  const message = `${what} ${shown(file)}: ${errnoMeaning(error)}`;
  return new Fault("INVALID_ARGUMENT", "FILE_UNREADABLE", message, { cause: error });
}
