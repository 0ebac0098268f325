/**
 * Source files as the tidy rules see them: path, text and syntax tree. The rules are pure functions over such files,
 * so that a violation is planted by writing a text; only `readTree` looks at the checkout.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Comment, type Program, parseSync } from "oxc-parser";

export const ROOT = join(import.meta.dirname, "../..");

/** `path` is relative to the checkout, with forward slashes. */
export type TextFile = Readonly<{ path: string; text: string }>;
export type SourceFile = TextFile &
  Readonly<{ program: Program; comments: readonly Comment[]; imports: readonly Import[] }>;
/** `specifier` as written; `isType` where nothing of it is left at run time. */
export type Import = Readonly<{ specifier: string; isType: boolean; line: number }>;
/** One line for the reader: `path:line: what, and the rule`. */
export type Problem = string;

const LIST_BYTES_MAX = 16 * 1024 * 1024;
const SCRIPT = /\.(ts|mts|mjs|cjs)$/;
const GENERATED = /^proto\/gen\//;

/** All files that git knows and that are there, text only. */
export function readTree(): readonly TextFile[] {
  const listed = execFileSync("git", ["ls-files", "-z"], {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: LIST_BYTES_MAX,
  });
  return listed
    .split("\0")
    .filter((path) => path !== "" && !path.endsWith(".binpb") && existsSync(join(ROOT, path)))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

/** The hand-written TypeScript and JavaScript among the files, parsed. Throws on a syntax error. */
export function parseSources(files: readonly TextFile[]): readonly SourceFile[] {
  return files
    .filter(({ path }) => SCRIPT.test(path) && !GENERATED.test(path))
    .map(({ path, text }) => parseSource(path, text));
}

export function parseSource(path: string, text: string): SourceFile {
  const { program, comments, errors, module } = parseSync(path, text);
  const [error] = errors;
  if (error !== undefined) throw new SyntaxError(`${path}: ${error.message}`);
  const imports: Import[] = [];
  for (const { moduleRequest, entries, start } of module.staticImports) {
    const isType = entries.length > 0 && entries.every((entry) => entry.isType);
    imports.push({ specifier: moduleRequest.value, isType, line: lineOf(text, start) });
  }
  for (const { entries, start } of module.staticExports) {
    for (const { moduleRequest, isType } of entries) {
      if (moduleRequest === null) continue;
      imports.push({ specifier: moduleRequest.value, isType, line: lineOf(text, start) });
    }
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const written = text.slice(moduleRequest.start, moduleRequest.end);
    const specifier = /^["'`]([^"'`$]+)["'`]$/.exec(written)?.[1];
    if (specifier === undefined) continue;
    imports.push({ specifier, isType: false, line: lineOf(text, moduleRequest.start) });
  }
  return { path, text, program, comments, imports };
}

/** 1 for the first line. */
export function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) {
    line += 1;
  }
  return line;
}

/** A test, or something that exists for tests alone. */
export function isTest(path: string): boolean {
  return path.startsWith("test/") || /\.test\.(ts|mts|mjs)$/.test(path) || isTestSupport(path);
}

/** What tests beside the code share: `x.fixture.ts`, `x.test-world.ts`, `testing-x.ts`, or a folder `testing`. */
export function isTestSupport(path: string): boolean {
  return /(^|[/-])testing(-[a-z-]+)?(\.ts$|\/)|\.(test-[a-z-]+|fixtures?)\.ts$/.test(path);
}

/** Where a program begins; an example has one beginning for each of its releases, or for each program of one. */
export function isEntry(path: string): boolean {
  return (
    /(^|\/)main\.ts$/.test(path) ||
    /^examples\/[^/]+\/(build|src\/(release-[\d.]+|seed|check))\.ts$/.test(path) ||
    /^examples\/[^/]+\/(app\/)?[a-z]+\.mjs$/.test(path) ||
    /^scripts\/[^/]+$/.test(path) ||
    /^sim\/product\/idle\/idle\.mjs$/.test(path) ||
    /^test\/bench\/[^/]+\.bench\.ts$/.test(path) ||
    /(^|\/)\w+\.config\.ts$/.test(path)
  );
}

/** Entry points, and what the scripts at the root share. */
export function mayTouchProcess(path: string): boolean {
  return isEntry(path) || path.startsWith("scripts/");
}
