/**
 * Where effects may begin: `process` in entry points alone; clock, chance and timers nowhere in the pure files; the
 * clock and chance elsewhere only through what is handed in (shared/src/clock.ts); SQL only in the hub's store.
 */
import type { Node } from "oxc-parser";
import { isTest, lineOf, mayTouchProcess, type Problem, type SourceFile } from "./source.ts";
import { walk } from "./walk.ts";

/** Files that decide and do not act. */
const PURE = [
  /^hub\/src\/domain\//,
  /^shared\/src\/blueprint\//,
  /^shared\/src\/(yaml|settings|dsse|digest|ids|generation|fault|text)\.ts$/,
  /^agent\/src\/reconcile\/plan\.ts$/,
];
/** The one adapter of clock and timers; examples are programs of their own. */
const CLOCK_ADAPTERS = [/^shared\/src\/clock\.ts$/, /^examples\//];
const TIMERS = new Set(["setTimeout", "setInterval", "setImmediate", "queueMicrotask"]);
const CHANCE = new Set(["randomUUID", "randomBytes", "randomInt", "getRandomValues"]);
const SQL = /^\s*(select\s[\s\S]+\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s)/i;

export function effectProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.filter(({ path }) => !isTest(path)).flatMap(effectsOf);
}

function effectsOf(file: SourceFile): readonly Problem[] {
  const problems: Problem[] = [];
  const isPure = PURE.some((pattern) => pattern.test(file.path));
  const isFree =
    mayTouchProcess(file.path) || CLOCK_ADAPTERS.some((pattern) => pattern.test(file.path));
  const isStore =
    !/^hub\/src\//.test(file.path) || /^hub\/src\/(store|cluster|telemetry)\//.test(file.path);
  walk(file.program, (node, { parents, isShadowed }) => {
    const say = (what: string) => {
      problems.push(`${file.path}:${lineOf(file.text, node.start)}: ${what}`);
    };
    const global = globalUsed(node, parents.at(-1));
    if (global !== undefined && !isShadowed(global)) {
      if (global === "process" && !mayTouchProcess(file.path))
        say("process: only main.ts touches it");
      if (TIMERS.has(global) && isPure) say(`${global}: a pure file has no timers`);
    }
    const source = clockOrChance(node);
    if (source !== undefined && (isPure || !isFree)) say(`${source}: it is handed in`);
    if (isPure && isChanceCall(node)) say("chance in a pure file: it is handed in");
    if (!isStore && isSql(node)) say("SQL outside of hub/src/store");
  });
  return problems;
}

/** The name of a variable that a node reads; not a property, a key, a label or a type. */
function globalUsed(node: Node, parent: Node | undefined): string | undefined {
  if (node.type !== "Identifier" || parent === undefined) return undefined;
  if (parent.type === "MemberExpression" && parent.property === node && !parent.computed) {
    return undefined;
  }
  if (parent.type === "Property" && parent.key === node && !parent.shorthand) return undefined;
  if (/^TS|Method|PropertyDefinition|Specifier$/.test(parent.type)) return undefined;
  return node.name;
}

function clockOrChance(node: Node): string | undefined {
  if (node.type === "NewExpression" && node.callee.type === "Identifier") {
    return node.callee.name === "Date" && node.arguments.length === 0 ? "new Date()" : undefined;
  }
  if (node.type !== "MemberExpression" || node.property.type !== "Identifier") return undefined;
  if (node.object.type !== "Identifier") return undefined;
  const used = `${node.object.name}.${node.property.name}`;
  return ["Date.now", "Math.random", "performance.now"].includes(used) ? used : undefined;
}

function isChanceCall(node: Node): boolean {
  if (node.type !== "CallExpression") return false;
  const { callee } = node;
  if (callee.type === "Identifier") return CHANCE.has(callee.name);
  return (
    callee.type === "MemberExpression" &&
    callee.property.type === "Identifier" &&
    CHANCE.has(callee.property.name)
  );
}

function isSql(node: Node): boolean {
  if (node.type === "Literal") return typeof node.value === "string" && SQL.test(node.value);
  return node.type === "TemplateLiteral" && SQL.test(node.quasis[0]?.value.raw ?? "");
}
