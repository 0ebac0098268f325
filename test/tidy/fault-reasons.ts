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
/** What each file declares itself: a name there is nobody else's. */
type Own = ReadonlySet<string>;
type Known = Readonly<{ takers: Takers; own: Own }>;

const keyOf = (path: string, name: string) => `${path}#${name}`;

/** Each reason with the place where it is used first. */
export function faultReasons(files: readonly SourceFile[]): ReadonlyMap<string, string> {
  const programs = files.filter(({ path }) => PROGRAMS.test(path) && !isTest(path));
  const known = knownIn(programs);
  const found = new Map<string, string>();
  for (const { path, text: source, program } of programs) {
    const keep = (node: Node) => {
      for (const { text, start } of literalsIn(node)) {
        if (!found.has(text)) found.set(text, `${path}:${lineOf(source, start)}`);
      }
    };
    walk(program, (node) => {
      for (const argument of reasonsGivenTo(node, path, known)) keep(argument);
      if (node.type !== "VariableDeclarator" || node.id.type !== "Identifier") return;
      if (/^REASONS?(_|$)/.test(node.id.name) && node.init !== null) keep(node.init);
    });
  }
  return found;
}

function knownIn(files: readonly SourceFile[]): Known {
  const takers: Takers = new Map([["Fault", new Set([OF_FAULT])]]);
  const own = new Set<string>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const { path, program } of files) {
      walk(program, (node, { parents }) => {
        const named = functionNamed(node, parents.at(-1));
        if (named === undefined) return;
        own.add(keyOf(path, named.name));
        walk(named.body, (inner) => {
          for (const given of reasonsGivenTo(inner, path, { takers, own })) {
            const at = given.type === "Identifier" ? named.params.indexOf(given.name) : -1;
            if (at < 0) continue;
            for (const key of [named.name, keyOf(path, named.name)]) {
              takers.set(key, (takers.get(key) ?? new Set()).add(at));
            }
          }
        });
      });
    }
  }
  return { takers, own };
}

function functionNamed(node: Node, parent: Node | undefined) {
  if (!isFunction(node) || !("params" in node)) return undefined;
  const body = "body" in node ? (node.body as Node | null) : null;
  const name = nameOf(node) ?? (parent === undefined ? undefined : nameOf(parent));
  if (name === undefined || body === null) return undefined;
  const params = (node.params as readonly Node[]).map((each) =>
    each.type === "Identifier" ? each.name : "",
  );
  return { name, params, body };
}

/** What a function is called by: its own name, or that of the variable, method or property that it is. */
function nameOf(node: Node): string | undefined {
  const named =
    "id" in node ? (node.id as Node | null) : "key" in node ? (node.key as Node | null) : null;
  if (named?.type === "Identifier" || named?.type === "PrivateIdentifier") return named.name;
  return undefined;
}

function reasonsGivenTo(node: Node, path: string, { takers, own }: Known): readonly Node[] {
  if (node.type !== "NewExpression" && node.type !== "CallExpression") return [];
  const { callee, arguments: given } = node;
  const called = callee.type === "MemberExpression" ? callee.property : callee;
  if (called.type !== "Identifier" && called.type !== "PrivateIdentifier") return [];
  const local = keyOf(path, called.name);
  const places = takers.get(own.has(local) ? local : called.name);
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
