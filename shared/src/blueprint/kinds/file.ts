/**
 * The kind `file`: one file on the agent's host, with content from the blueprint or from an artefact. Says what its
 * spec may hold; refuses paths that lead elsewhere than they say, modes that give rights away, and root as owner.
 */
import { invalid, type Violation } from "../../fault.ts";
import { Shape } from "../shape.ts";
import { filePathProblem } from "./file-path.ts";
import type { KindRules, ValueType } from "./kind.ts";
import { isInnerPath } from "./process-argv.ts";

/** Exactly one of `content` and `source` is set. */
export type FileSpec = Readonly<{
  /** Below the instance's own folder for files; absolute: below a folder that the agent's configuration names. */
  path: string;
  content?: string;
  source?: Readonly<{ artefact: string; file: string }>;
  mode: number;
  /** Account of the host; undefined: the agent's own. */
  owner?: string;
  /** Of the folders above it that are not there yet. */
  directoryMode: number;
}>;

/** Fields that are constants of the release: only `content` may hold expressions. */
export const FILE_STATIC_FIELDS = [
  "path",
  "artefact",
  "source",
  "mode",
  "owner",
  "directoryMode",
] as const;

/** As much as a rendering can hold. */
export const FILE_CONTENT_CHARS_MAX = 1_048_576;

const ARTEFACT_NAME = { pattern: /^[a-z][a-z0-9-]{0,39}$/, allowed: "the name of an artefact" };
/** By name, since a number means another account on each host. */
const OWNER = {
  pattern: /^(?!root$)[a-z_][a-z0-9_-]{0,31}$/,
  allowed: "the name of an account that is not root; nothing: the agent's own",
};
/** Never a fourth digit: no setuid, no setgid, no sticky. The owner can always read it, or drift could not be seen. */
const MODE = {
  pattern: /^0?[4-7][0-7]{2}$/,
  allowed:
    'three octal digits in quotes, the first from 4 to 7, such as "640"; setuid, setgid and sticky never',
};
const DIRECTORY_MODE = {
  pattern: /^0?7[0-7]{2}$/,
  allowed:
    'three octal digits in quotes, the first 7, such as "750"; setuid, setgid and sticky never',
};
const MODE_DEFAULT = "600";
const DIRECTORY_MODE_DEFAULT = "755";
const PATH_RULE =
  "a path of plain names such as etc/app.json, or an absolute one below a folder that the agent's file_roots name";

/** All that is wrong with a template or a rendered spec; `path` names the spec in messages. */
export function checkFileSpec(spec: unknown, path: string): readonly Violation[] {
  const found: Violation[] = [];
  readShape(spec, path, found);
  return found;
}

/** Throws INVALID_ARGUMENT `SPEC_INVALID` unless the rendered spec is sound. */
export function readFileSpec(spec: unknown, path: string): FileSpec {
  const found: Violation[] = [];
  const read = readShape(spec, path, found);
  if (found.length > 0) throw invalid("SPEC_INVALID", found);
  return read;
}

function readShape(spec: unknown, path: string, found: Violation[]): FileSpec {
  const shape = new Shape(spec, path, found);
  const place = readPath(shape);
  const content = readContent(shape);
  const source = readSource(shape);
  if (shape.has("content") === shape.has("artefact")) {
    const problem = shape.has("content") ? "has content and artefact" : "has neither";
    shape.add("content", `needs one origin: ${problem}`, "", "content, or artefact and source");
  }
  const owner = shape.text("owner", OWNER);
  const read: FileSpec = {
    path: place,
    ...(content !== undefined && { content }),
    ...(source !== undefined && { source }),
    mode: Number.parseInt(shape.text("mode", MODE) ?? MODE_DEFAULT, 8),
    ...(owner !== undefined && { owner }),
    directoryMode: Number.parseInt(
      shape.text("directoryMode", DIRECTORY_MODE) ?? DIRECTORY_MODE_DEFAULT,
      8,
    ),
  };
  shape.finish();
  return read;
}

function readPath(shape: Shape): string {
  const path = shape.text("path", { pattern: /./su, allowed: PATH_RULE }, true) ?? "";
  const problem = path === "" ? undefined : filePathProblem(path);
  if (problem !== undefined) shape.add("path", problem, path, PATH_RULE);
  return path;
}

/** A whole-value expression keeps its type, so rendered content may be a number or a boolean. */
function readContent(shape: Shape): string | undefined {
  const value = shape.raw("content");
  if (value === undefined) return undefined;
  const text = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  if (typeof text !== "string") {
    shape.add("content", "not text", value, "text, a number, true or false");
    return undefined;
  }
  if (text.length > FILE_CONTENT_CHARS_MAX) {
    const problem = `${text.length} characters are too many`;
    shape.add("content", problem, "", `at most ${FILE_CONTENT_CHARS_MAX}; more in an artefact`);
  }
  return text;
}

function readSource(shape: Shape): FileSpec["source"] {
  const artefact = shape.text("artefact", ARTEFACT_NAME);
  const file = shape.raw("source");
  const rule = "a relative path inside the artefact, without . and ..";
  if (typeof file === "string" && isInnerPath(file)) {
    if (artefact !== undefined) return { artefact, file };
    if (!shape.has("artefact")) shape.add("source", "without artefact", "", "artefact and source");
    return undefined;
  }
  if (file !== undefined) shape.add("source", "not a file of the release", file, rule);
  else if (artefact !== undefined) shape.add("source", "required with artefact", "", rule);
  return undefined;
}

export const FILE_KIND: KindRules = {
  kind: "file",
  isStatic: (_, [field]) => field !== "content",
  mayHoldSecret: ([field]) => field === "content",
  wantsInteger: () => false,
  check: checkFileSpec,
  outputsOf: () =>
    new Map<string, ValueType>([
      ["path", "string"],
      ["digest", "string"],
    ]),
  portsOf: () => [],
  fixedPortsOf: () => [],
  pathsOf: ({ path }) => (typeof path === "string" ? [path] : []),
  artefactsOf: ({ artefact }) => (typeof artefact === "string" ? [artefact] : []),
  counters: [],
};
