/**
 * The built-in rules: everything is allowed but what lets a release reach beyond its own instance. They hold
 * whatever the hub checked, and hold for every kind of resource that has these fields.
 */
import { filePathProblem, isAbsolute } from "@holdfast/shared/blueprint/kinds/file-path.ts";
import { driversFor } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import { isInnerPath, PROCESS_RUNTIMES } from "@holdfast/shared/blueprint/kinds/process-argv.ts";
import { envNameProblem } from "@holdfast/shared/blueprint/kinds/process-env.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonObject, JsonValue } from "../drivers/driver.ts";
import { type ContainerReach, isContainer, judgeContainers, NO_REACH } from "./containers.ts";
import type { ConsentPort, ConsentRequest } from "./port.ts";

type Denial = Readonly<{ rule: string; message: string }>;

/**
 * `deny` of the configuration: `env:NAME`, `kind:KIND` or `product:NAME`; a trailing `*` stands for any rest. `users`:
 * accounts of the host besides the agent's own that a release may name. `roots`: folders of the host below which it may
 * write files. `containers`: what it may mount into them, and where their images may come from.
 */
export function openPolicy(
  deny: readonly string[],
  users: readonly string[] = [],
  roots: readonly string[] = [],
  containers: ContainerReach = NO_REACH,
): ConsentPort {
  return {
    judge(request) {
      const denial =
        judgeDenied(request, deny) ??
        judgeUsers(request, users) ??
        judgeFiles(request, roots) ??
        judgeContainers(request, containers);
      return denial === undefined
        ? { verdict: "allowed", rule: "open" }
        : { verdict: "vetoed", ...denial };
    },
  };
}

function judgeDenied(request: ConsentRequest, deny: readonly string[]): Denial | undefined {
  const product = matching(deny, "product", request.product);
  if (product !== undefined) {
    return { rule: `deny ${product}`, message: `product ${shown(request.product)} is denied here` };
  }
  const needed = request.resources.flatMap((resource) =>
    driversFor(resource).map((kind) => ({ id: resource.id, kind })),
  );
  const kinds = [...needed, ...request.steps];
  for (const { id, kind } of kinds) {
    const rule = matching(deny, "kind", kind);
    if (rule === undefined) continue;
    return { rule: `deny ${rule}`, message: `${id}: kind ${shown(kind)} is denied here` };
  }
  const extraEnv = deny.filter((each) => each.startsWith("env:")).map((each) => each.slice(4));
  for (const resource of request.resources) {
    const { id, spec } = resource;
    const denial =
      judgeEnvironment(id, spec["env"], extraEnv) ??
      (isContainer(resource) ? undefined : judgeCommand(id, spec)) ??
      judgeDirectory(id, spec);
    if (denial !== undefined) return denial;
  }
  return undefined;
}

/** An account is reach: without a word of the customer a release has the agent's own and no other. */
function judgeUsers({ resources }: ConsentRequest, users: readonly string[]): Denial | undefined {
  for (const resource of resources) {
    // Numbers inside of a container, which are no accounts of the host.
    if (isContainer(resource)) continue;
    const { id, spec } = resource;
    for (const field of ["user", "owner"] as const) {
      const account = spec[field];
      if (account === undefined || users.some((each) => each === account)) continue;
      const allowed = users.length === 0 ? "none but the agent's own" : users.join(", ");
      const message = `${id}.${field}: got ${shown(account)}; process_users allows: ${allowed}`;
      return { rule: "user-denied", message };
    }
  }
  return undefined;
}

/** A file outside of the instance's own folder is reach, too. The rule for the path itself holds wherever it is. */
function judgeFiles({ resources }: ConsentRequest, roots: readonly string[]): Denial | undefined {
  for (const { id, kind, spec } of resources) {
    if (kind !== "file") continue;
    const { path } = spec;
    const problem = typeof path === "string" ? filePathProblem(path) : "not text";
    if (problem !== undefined) {
      return { rule: "path-form", message: `${id}.path: got ${shown(path)}: ${problem}` };
    }
    const isAllowed = (root: string) => String(path).startsWith(`${root}/`);
    if (!isAbsolute(String(path)) || roots.some(isAllowed)) continue;
    const allowed = roots.length === 0 ? "nothing but the instance's own" : roots.join(", ");
    const message = `${id}.path: got ${shown(path)}; file_roots allows: ${allowed}`;
    return { rule: "path-denied", message };
  }
  return undefined;
}

/** Loader variables would run code that no release key has signed. */
function judgeEnvironment(
  id: string,
  env: JsonValue | undefined,
  extra: readonly string[],
): Denial | undefined {
  if (env === undefined) return undefined;
  if (!isObject(env))
    return { rule: "env-form", message: `${id}.env: want a map of names to text` };
  for (const [name, value] of Object.entries(env)) {
    const path = `${id}.env.${shown(name)}`;
    const problem = envNameProblem(name);
    if (problem !== undefined) return { rule: "env-deny", message: `${path}: ${problem}` };
    const denied = extra.find((pattern) => matches(pattern, name));
    if (denied !== undefined) {
      return { rule: `deny env:${denied}`, message: `${path}: denied here` };
    }
    if (String(value).includes("\0")) {
      return { rule: "env-value", message: `${path}: the value has a NUL character` };
    }
  }
  return undefined;
}

/** A command is a list of words that no shell ever sees, and its program comes with the release. */
function judgeCommand(id: string, spec: JsonObject): Denial | undefined {
  for (const field of ["command", "cmd", "shell"]) {
    if (spec[field] === undefined) continue;
    return {
      rule: "argv-form",
      message: `${id}.${field}: not known; write argv as a list of words`,
    };
  }
  const argv = spec["argv"];
  if (argv === undefined) return undefined;
  if (!Array.isArray(argv) || typeof argv[0] !== "string" || argv.some(isNested)) {
    const message = `${id}.argv: got ${shown(argv)}; want a list of words, which no shell reads`;
    return { rule: "argv-form", message };
  }
  const [program, script] = argv;
  const isRuntime = PROCESS_RUNTIMES.some((runtime) => runtime === program);
  const inside = isRuntime ? script : program;
  if (typeof inside === "string" && isInnerPath(inside)) return undefined;
  return {
    rule: "argv-outside",
    message: `${id}.argv: got ${shown(inside ?? "")}; want a path inside the resource's artefact`,
  };
}

function judgeDirectory(id: string, spec: JsonObject): Denial | undefined {
  for (const field of ["cwd", "workingDirectory"]) {
    const value = spec[field];
    if (value === undefined || (typeof value === "string" && isInnerPath(value))) continue;
    const message = `${id}.${field}: got ${shown(value)}; want a path inside the instance's own`;
    return { rule: "directory-outside", message };
  }
  return undefined;
}

function matching(deny: readonly string[], what: string, value: string): string | undefined {
  const prefix = `${what}:`;
  return deny.find((each) => each.startsWith(prefix) && matches(each.slice(prefix.length), value));
}

function matches(pattern: string, text: string): boolean {
  return pattern.endsWith("*") ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNested(word: JsonValue): boolean {
  return typeof word === "object";
}
