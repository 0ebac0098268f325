/** Lengths of files and functions: hard limits, and the figures that are compared with other codebases. */
import type { Node } from "oxc-parser";
import { isTest, lineOf, type Problem, type SourceFile } from "./source.ts";
import { isFunction, walk } from "./walk.ts";

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 70;

type Length = Readonly<{ where: string; lines: number }>;
export type Spread = Readonly<{ count: number; median: number; p90: number; max: number }>;
export type Sizes = Readonly<{
  files: Spread;
  functions: Spread;
  commentShare: number;
  testLinesPerLine: number;
}>;

export function sizeProblems(files: readonly SourceFile[]): readonly Problem[] {
  const long = (limit: number) => (each: Length) => each.lines > limit;
  return [
    ...files.map(fileLength).filter(long(FILE_LINES_MAX)).map(say("file", FILE_LINES_MAX)),
    ...files
      .flatMap(functionLengths)
      .filter(long(FUNCTION_LINES_MAX))
      .map(say("function", FUNCTION_LINES_MAX)),
  ];
}

/** Of the programs, tests apart: every function but one-line arrows. */
export function sizesOf(files: readonly SourceFile[]): Sizes {
  const programs = files.filter(({ path }) => !isTest(path));
  const sum = (some: readonly SourceFile[]) =>
    some.reduce((total, file) => total + fileLength(file).lines, 0);
  const functions = programs.flatMap(functionLengths).filter(({ lines }) => lines > 0);
  const commentLines = programs.reduce((total, file) => total + commentLinesOf(file), 0);
  return {
    files: spreadOf(programs.map((file) => fileLength(file).lines)),
    functions: spreadOf(functions.map(({ lines }) => lines)),
    commentShare: commentLines / Math.max(1, sum(programs)),
    testLinesPerLine: sum(files.filter(({ path }) => isTest(path))) / Math.max(1, sum(programs)),
  };
}

function say(what: string, limit: number): (length: Length) => Problem {
  return ({ where, lines }) => `${where}: a ${what} of ${lines} lines; at most ${limit}`;
}

function fileLength({ path, text }: SourceFile): Length {
  return { where: path, lines: text.replace(/\n$/, "").split("\n").length };
}

/** The callbacks of `describe`, and functions that declare tests, are chapters of a test and no part of a program. */
function functionLengths(file: SourceFile): readonly Length[] {
  const lengths: Length[] = [];
  walk(file.program, (node, { parents }) => {
    if (!isFunction(node) || declares(parents.at(-1), ["describe"]) || holdsTests(node)) return;
    const first = lineOf(file.text, node.start);
    const lines = lineOf(file.text, node.end) - first + 1;
    if (lines === 1 && node.type === "ArrowFunctionExpression") return;
    lengths.push({ where: `${file.path}:${first}`, lines });
  });
  return lengths;
}

function holdsTests(node: Node): boolean {
  const body = "body" in node ? (node.body as Node | null) : null;
  if (body?.type !== "BlockStatement") return false;
  return body.body.some(
    (each) =>
      each.type === "ExpressionStatement" && declares(each.expression, ["describe", "it", "test"]),
  );
}

/** Whether a node is a call of one of the words, be it `describe(…)` or `describe.each(…)(…)`. */
function declares(node: Node | undefined, words: readonly string[]): boolean {
  if (node?.type !== "CallExpression") return false;
  let callee: Node = node.callee;
  while (callee.type === "CallExpression" || callee.type === "MemberExpression") {
    callee = callee.type === "CallExpression" ? callee.callee : callee.object;
  }
  return callee.type === "Identifier" && words.includes(callee.name);
}

function commentLinesOf({ comments, text }: SourceFile): number {
  return comments.reduce(
    (total, { start, end }) => total + lineOf(text, end) - lineOf(text, start) + 1,
    0,
  );
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { count: sorted.length, median: at(0.5), p90: at(0.9), max: at(1) };
}
