/**
 * Every reason that a fault of ours can carry, read from the code: the second argument of each `new Fault`, also where
 * it comes in through functions that hand their parameter on.
 */
import type { Node } from "oxc-parser";
import { isTest, lineOf, type SourceFile } from "./source.ts";
import { childrenOf, isFunction, walk } from "./walk.ts";

const PROGRAMS = /^(hub|agent|shared|sim)\//;
const REASON = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/;
/** `new Fault(code, reason, …)`. */
const OF_FAULT = 1;
/** Functions that hand a reason to functions that hand it on are found in as many rounds. */
const ROUNDS_MAX = 6;

/** Who takes a reason, and as which argument: by the function's name, and by file and name for what a file declares. */
type Takers = Map<string, Set<number>>;
type Named = Readonly<{ name: string; params: readonly string[] }>;
type Call = Readonly<{
  file: SourceFile;
  called: string;
  given: readonly Node[];
  /** The functions around it. */
  within: readonly Named[];
}>;
/** What one look at all files gives; the rounds then need no tree. */
type Seen = Readonly<{
  calls: readonly Call[];
  /** Tables of reasons. */
  tables: readonly Readonly<{ file: SourceFile; init: Node }>[];
  /** What each file declares itself: a name there is nobody else's. */
  own: ReadonlySet<string>;
}>;

const keyOf = (path: string, name: string) => `${path}#${name}`;

/** Each reason with the place where it is used first. */
export function faultReasons(files: readonly SourceFile[]): ReadonlyMap<string, string> {
  const seen = seenIn(files.filter(({ path }) => PROGRAMS.test(path) && !isTest(path)));
  const takers = takersIn(seen);
  const places = [
    ...seen.calls.flatMap((call) =>
      reasonsGivenTo(call, takers, seen.own).map((node) => ({ file: call.file, node })),
    ),
    ...seen.tables.map(({ file, init }) => ({ file, node: init })),
  ];
  const found = new Map<string, string>();
  for (const { file, node } of places) {
    for (const { text, start } of literalsIn(node)) {
      if (!found.has(text)) found.set(text, `${file.path}:${lineOf(file.text, start)}`);
    }
  }
  return found;
}

function seenIn(files: readonly SourceFile[]): Seen {
  const calls: Call[] = [];
  const tables: { file: SourceFile; init: Node }[] = [];
  const own = new Set<string>();
  for (const file of files) {
    walk(file.program, (node, { parents }) => {
      const named = functionNamed(node, parents.at(-1));
      if (named !== undefined) own.add(keyOf(file.path, named.name));
      if (node.type === "VariableDeclarator" && node.id.type === "Identifier" && node.init) {
        if (/^REASONS?(_|$)/.test(node.id.name)) tables.push({ file, init: node.init });
      }
      const call = calledBy(node);
      if (call === undefined) return;
      const within = parents.flatMap((each, at) => functionNamed(each, parents[at - 1]) ?? []);
      calls.push({ file, ...call, within });
    });
  }
  return { calls, tables, own };
}

function takersIn({ calls, own }: Seen): Takers {
  const takers: Takers = new Map([["Fault", new Set([OF_FAULT])]]);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const call of calls) {
      for (const given of reasonsGivenTo(call, takers, own)) {
        if (given.type !== "Identifier") continue;
        for (const { name, params } of call.within) {
          const at = params.indexOf(given.name);
          if (at < 0) continue;
          for (const key of [name, keyOf(call.file.path, name)]) {
            takers.set(key, (takers.get(key) ?? new Set()).add(at));
          }
        }
      }
    }
  }
  return takers;
}

function functionNamed(node: Node, parent: Node | undefined): Named | undefined {
  if (!isFunction(node) || !("params" in node) || !("body" in node) || node.body === null) {
    return undefined;
  }
  const name = nameOf(node) ?? (parent === undefined ? undefined : nameOf(parent));
  if (name === undefined) return undefined;
  const params = (node.params as readonly Node[]).map((each) =>
    each.type === "Identifier" ? each.name : "",
  );
  return { name, params };
}

/** What a function is called by: its own name, or that of the variable, method or property that it is. */
function nameOf(node: Node): string | undefined {
  const named =
    "id" in node ? (node.id as Node | null) : "key" in node ? (node.key as Node | null) : null;
  if (named?.type === "Identifier" || named?.type === "PrivateIdentifier") return named.name;
  return undefined;
}

function calledBy(node: Node): Readonly<{ called: string; given: readonly Node[] }> | undefined {
  if (node.type !== "NewExpression" && node.type !== "CallExpression") return undefined;
  const { callee, arguments: given } = node;
  const called = callee.type === "MemberExpression" ? callee.property : callee;
  if (called.type !== "Identifier" && called.type !== "PrivateIdentifier") return undefined;
  return { called: called.name, given };
}

function reasonsGivenTo({ file, called, given }: Call, takers: Takers, own: Seen["own"]) {
  const local = keyOf(file.path, called);
  const places = takers.get(own.has(local) ? local : called);
  return [...(places ?? [])].flatMap((at) => given[at] ?? []);
}

function literalsIn(node: Node): readonly Readonly<{ text: string; start: number }>[] {
  if (node.type === "Literal") {
    const { value, start } = node;
    return typeof value === "string" && REASON.test(value) ? [{ text: value, start }] : [];
  }
  // What a call or a comparison is made of is something else.
  if (/^(CallExpression|NewExpression|BinaryExpression)$/.test(node.type)) return [];
  return childrenOf(node).flatMap(literalsIn);
}
