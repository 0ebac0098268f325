/**
 * Walks a syntax tree with the names that are in scope. Scopes are per function, not per block: enough to tell a
 * module's own binding from a parameter or a local of the same name.
 */
import { type Node, visitorKeys } from "oxc-parser";

export type Visit = (node: Node, context: Context) => void;
/** `parents` outermost first; `isShadowed` tells whether a function around the node declares the name. */
export type Context = Readonly<{
  parents: readonly Node[];
  isShadowed: (name: string) => boolean;
}>;

export function walk(root: Node, visit: Visit): void {
  const parents: Node[] = [];
  const scopes: ReadonlySet<string>[] = [];
  const isShadowed = (name: string) => scopes.some((scope) => scope.has(name));
  const step = (node: Node): void => {
    const opens = isFunction(node);
    if (opens) scopes.push(namesDeclaredIn(node));
    visit(node, { parents, isShadowed });
    parents.push(node);
    for (const child of childrenOf(node)) step(child);
    parents.pop();
    if (opens) scopes.pop();
  };
  step(root);
}

export function childrenOf(node: Node): readonly Node[] {
  const fields = node as unknown as Record<string, unknown>;
  return (visitorKeys[node.type] ?? []).flatMap((key) => {
    const value = fields[key];
    return (Array.isArray(value) ? value : [value]).filter(isNode);
  });
}

export function isFunction(node: Node): boolean {
  return (
    node.type === "FunctionDeclaration" ||
    node.type === "FunctionExpression" ||
    node.type === "ArrowFunctionExpression"
  );
}

/** The names that a pattern or a declaration binds, e.g. both of `{ a, b: [c] }`: a and c. */
export function namesBoundBy(pattern: Node): readonly string[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name];
    case "ObjectPattern":
      return pattern.properties.flatMap((each) =>
        namesBoundBy(each.type === "RestElement" ? each.argument : each.value),
      );
    case "ArrayPattern":
      return pattern.elements.flatMap((each) => (each === null ? [] : namesBoundBy(each)));
    case "AssignmentPattern":
      return namesBoundBy(pattern.left);
    case "RestElement":
      return namesBoundBy(pattern.argument);
    default:
      return [];
  }
}

function namesDeclaredIn(owner: Node): ReadonlySet<string> {
  const { params } = owner as unknown as { params: readonly Node[] };
  const names = params.flatMap(namesBoundBy);
  const collect = (node: Node): void => {
    if (node.type === "VariableDeclarator") names.push(...namesBoundBy(node.id));
    if (node.type === "CatchClause" && node.param) names.push(...namesBoundBy(node.param));
    if (node.type === "FunctionDeclaration" && node.id) names.push(node.id.name);
    if (!isFunction(node)) childrenOf(node).forEach(collect);
  };
  childrenOf(owner).forEach(collect);
  return new Set(names);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}
