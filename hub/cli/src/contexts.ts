/**
 * Which hub the CLI talks to, and as whom: named contexts from the file that `HOLDFAST_CONTEXT_FILE` names or else
 * `.holdfast/context.yaml`, found upwards from the working directory, and from the user's own
 * `holdfast/contexts.yaml`. Tokens stay in files of their own and are never taken from the command line, which other
 * users of a machine can read.
 */
import { chmod, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { Fault, invalid, type Violation } from "@holdfast/shared/fault.ts";
import { isLoopback, unreadable } from "@holdfast/shared/settings.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";
import type { Terminal } from "./terminal.ts";

/** Paths are absolute. */
export type Context = Readonly<{
  name: string;
  api: string;
  caFile?: string | undefined;
  tokenFile?: string | undefined;
  tenant?: string | undefined;
}>;

export type ContextFile = Readonly<{
  path: string;
  current: string | undefined;
  contexts: readonly Context[];
}>;

/** Flags that choose or replace parts of a context. */
export type ContextFlags = Readonly<{
  context?: string | undefined;
  api?: string | undefined;
  caFile?: string | undefined;
  tokenFile?: string | undefined;
  tenant?: string | undefined;
}>;

const FIELDS = ["api", "ca_file", "token_file", "tenant"] as const;
const DIRECTORIES_UP_MAX = 64;
const TOKEN_CHARS_MAX = 4096;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** The user's own file: `$XDG_CONFIG_HOME/holdfast/contexts.yaml`. */
export function userContextsPath(terminal: Pick<Terminal, "env" | "homeDirectory">): string {
  const configured = terminal.env["XDG_CONFIG_HOME"];
  const base =
    configured !== undefined && isAbsolute(configured)
      ? configured
      : join(terminal.homeDirectory, ".config");
  return join(base, "holdfast", "contexts.yaml");
}

/** Those that are there; the one that was named or is nearest first, the user's own last. */
export async function contextFiles(terminal: Terminal): Promise<readonly ContextFile[]> {
  const named = terminal.env["HOLDFAST_CONTEXT_FILE"] ?? "";
  const first =
    named === ""
      ? await nearestContextFile(terminal.workingDirectory)
      : await namedContextFile(resolve(terminal.workingDirectory, named));
  const own = await readContextFile(userContextsPath(terminal));
  return [first, own].filter((file) => file !== undefined);
}

/** Never falls back to another file, whose hub is not the one that was meant. */
async function namedContextFile(path: string): Promise<ContextFile> {
  const file = await readContextFile(path);
  if (file !== undefined) return file;
  throw new Fault(
    "INVALID_ARGUMENT",
    "CONTEXT_MISSING",
    `HOLDFAST_CONTEXT_FILE names ${shown(path)}, which is not there`,
    { next: "unset HOLDFAST_CONTEXT_FILE" },
  );
}

async function nearestContextFile(from: string): Promise<ContextFile | undefined> {
  let directory = from;
  for (let up = 0; up < DIRECTORIES_UP_MAX; up++) {
    const found = await readContextFile(join(directory, ".holdfast", "context.yaml"));
    if (found !== undefined) return found;
    const parent = dirname(directory);
    if (parent === directory) return undefined;
    directory = parent;
  }
  return undefined;
}

/** Undefined if there is no such file. Throws INVALID_ARGUMENT `CONTEXT_INVALID`. */
export async function readContextFile(path: string): Promise<ContextFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw unreadable("context file", path, error);
  }
  const { parseYaml } = await import("@holdfast/shared/yaml.ts");
  return contextFileOf(parseYaml(text, path), path);
}

function contextFileOf(value: unknown, path: string): ContextFile {
  const found: Violation[] = [];
  const wrong = (key: string, message: string) => found.push({ path: `${path}: ${key}`, message });
  const root = mapOf(value ?? {});
  if (root === undefined) wrong("", "not a map; allowed: current and contexts");
  for (const key of Object.keys(root ?? {})) {
    if (key !== "current" && key !== "contexts")
      wrong(key, "unknown key; known: current, contexts");
  }
  const contexts = Object.entries(mapOf(root?.["contexts"] ?? {}) ?? {}).map(([name, entry]) => {
    const fields = mapOf(entry);
    if (fields === undefined) wrong(`contexts.${shown(name)}`, "not a map");
    for (const [key, field] of Object.entries(fields ?? {})) {
      const at = `contexts.${shown(name)}.${shown(key)}`;
      const near = suggestion(key, FIELDS);
      const hint = near === undefined ? `known: ${FIELDS.join(", ")}` : `did you mean ${near}?`;
      if (!FIELDS.some((each) => each === key)) wrong(at, `unknown key; ${hint}`);
      else if (typeof field !== "string" || field === "") wrong(at, "not text");
    }
    const text = (key: (typeof FIELDS)[number]) => {
      const field = fields?.[key];
      return typeof field === "string" ? field : undefined;
    };
    const file = (key: "ca_file" | "token_file") => {
      const given = text(key);
      return given === undefined ? undefined : resolve(dirname(path), given);
    };
    if (text("api") === undefined) wrong(`contexts.${shown(name)}.api`, "required; the hub's URL");
    return {
      name,
      api: text("api") ?? "",
      caFile: file("ca_file"),
      tokenFile: file("token_file"),
      tenant: text("tenant"),
    };
  });
  if (found.length > 0) throw invalid("CONTEXT_INVALID", found, { next: "holdfast context list" });
  const current = root?.["current"];
  return { path, current: typeof current === "string" ? current : undefined, contexts };
}

function mapOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

/**
 * The context that the flags, the environment (`HOLDFAST_CONTEXT`) and the files lead to. Throws INVALID_ARGUMENT
 * `CONTEXT_MISSING` or `CONTEXT_UNKNOWN`.
 */
export async function chooseContext(terminal: Terminal, flags: ContextFlags): Promise<Context> {
  const absolute = (path: string | undefined) =>
    path === undefined ? undefined : resolve(terminal.workingDirectory, path);
  const asked = flags.context ?? terminal.env["HOLDFAST_CONTEXT"];
  const isAlone = flags.api !== undefined && asked === undefined;
  const base = isAlone ? { name: "", api: "" } : await namedContext(terminal, asked);
  return {
    name: base.name,
    api: flags.api ?? base.api,
    caFile: absolute(flags.caFile) ?? base.caFile,
    tokenFile: absolute(flags.tokenFile) ?? base.tokenFile,
    tenant: flags.tenant ?? base.tenant,
  };
}

async function namedContext(terminal: Terminal, asked: string | undefined): Promise<Context> {
  const files = await contextFiles(terminal);
  const name = asked ?? files.find(({ current }) => current !== undefined)?.current;
  if (name === undefined) {
    const path = userContextsPath(terminal);
    throw new Fault(
      "INVALID_ARGUMENT",
      "CONTEXT_MISSING",
      `no context says which hub to talk to: no .holdfast/context.yaml here or above, no ${path}`,
      { next: "holdfast context set NAME --api https://HUB:7400 --ca-file FILE --token-file FILE" },
    );
  }
  const known = files.flatMap(({ contexts }) => contexts);
  const found = known.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = known.map((each) => each.name);
  const near = suggestion(name, names);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  throw new Fault(
    "INVALID_ARGUMENT",
    "CONTEXT_UNKNOWN",
    `no context ${shown(name)}; known: ${names.map(shown).join(", ") || "none"}${hint}`,
    { next: "holdfast context list" },
  );
}

/**
 * Cleartext is for this machine only; a URL never holds a secret; no public authority vouches for an IP address.
 * Throws INVALID_ARGUMENT `API_URL`.
 */
export function checkApiUrl({ api, caFile }: Pick<Context, "api" | "caFile">): URL {
  const refuse = (message: string) =>
    new Fault("INVALID_ARGUMENT", "API_URL", `api: ${message}`, { next: "holdfast context list" });
  if (!URL.canParse(api)) throw refuse(`not a URL; got ${shown(api)}; allowed: https://HOST:PORT`);
  const url = new URL(api);
  if (url.username !== "" || url.password !== "") {
    throw refuse("a URL must not hold credentials; use a token file");
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLocal = url.protocol === "http:" && isLoopback(host);
  if (url.protocol !== "https:" && !isLocal) {
    throw refuse(`https only, but for http on loopback; got ${shown(api)}`);
  }
  const rest = `${url.pathname === "/" ? "" : url.pathname}${url.search}${url.hash}`;
  if (rest !== "") throw refuse(`nothing may follow the host; got ${shown(rest)}`);
  if (!isLocal && caFile === undefined && isIP(host) !== 0) {
    throw refuse(`an IP address needs a pinned root; give --ca-file; got ${shown(api)}`);
  }
  return url;
}

/** A token or key in a file, without the white space around it. */
export async function readSecretFile(what: string, path: string, terminal: Terminal) {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      terminal.err(`warning: ${what} ${path} can be read by other users; run chmod 600 ${path}\n`);
    }
    text = await readFile(path, "utf8");
  } catch (error) {
    throw unreadable(what, path, error);
  }
  const secret = text.trim();
  const isSound = /^[\x21-\x7e]+$/.test(secret) && secret.length <= TOKEN_CHARS_MAX;
  if (isSound) return secret;
  throw new Fault(
    "INVALID_ARGUMENT",
    "TOKEN_MALFORMED",
    `${what} ${path}: it holds no single token`,
  );
}

/** Adds or replaces a context in the user's own file (0600), which is current if there was none. */
export async function saveContext(terminal: Terminal, context: Context): Promise<string> {
  if (!NAME.test(context.name)) {
    const rule = "letters, digits, ., _ and -, at most 63";
    throw new Fault(
      "INVALID_ARGUMENT",
      "CONTEXT_NAME",
      `context: got ${shown(context.name)}; allowed: ${rule}`,
    );
  }
  checkApiUrl(context);
  const path = userContextsPath(terminal);
  const file = (await readContextFile(path)) ?? { path, current: undefined, contexts: [] };
  const others = file.contexts.filter(({ name }) => name !== context.name);
  await writeContextFile({
    path,
    current: file.current ?? context.name,
    contexts: [...others, context],
  });
  return path;
}

/** Replaces the file as a whole, so that a reader never sees half of it. */
export async function writeContextFile(file: ContextFile): Promise<void> {
  const { yamlOf } = await import("./yaml-text.ts");
  const contexts = file.contexts.map(({ name, api, caFile, tokenFile, tenant }) => {
    const fields = { api, ca_file: caFile, token_file: tokenFile, tenant };
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    return [name, Object.fromEntries(given)] as const;
  });
  const text = yamlOf({ current: file.current, contexts: Object.fromEntries(contexts) });
  await mkdir(dirname(file.path), { recursive: true, mode: 0o700 });
  const draft = `${file.path}.new`;
  await writeFile(draft, text, { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, file.path);
}
