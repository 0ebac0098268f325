/**
 * No state that outlives a call and that nobody handed in: no `let` or `var` of a module, no collection of a module
 * that its code changes, and nothing done merely because a file was imported.
 */
import type { Node } from "oxc-parser";
import { isEntry, isTest, lineOf, type Problem, type SourceFile } from "./source.ts";
import { type Context, namesBoundBy, walk } from "./walk.ts";

const MUTATORS = new Set([
  ...["set", "add", "delete", "clear", "push", "pop", "shift", "unshift", "splice", "sort"],
  ...["reverse", "fill", "copyWithin", "append"],
]);

export function moduleStateProblems(files: readonly SourceFile[]): readonly Problem[] {
  return files.filter(({ path }) => !isTest(path)).flatMap(stateOf);
}

function stateOf(file: SourceFile): readonly Problem[] {
  const problems: Problem[] = [];
  const at = (node: Node) => `${file.path}:${lineOf(file.text, node.start)}`;
  const constants = new Set<string>();
  for (const statement of file.program.body) {
    const declared =
      statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    // A .cjs is written for readers that know no `const`.
    const isOld = file.path.endsWith(".cjs");
    if (declared?.type === "VariableDeclaration" && !declared.declare && !isOld) {
      const names = declared.declarations.flatMap(({ id }) => namesBoundBy(id));
      if (declared.kind === "const") for (const name of names) constants.add(name);
      else
        problems.push(`${at(declared)}: ${declared.kind} ${names.join(", ")}: module-level state`);
    }
    if (statement.type === "ExpressionStatement" && !isEntry(file.path)) {
      problems.push(`${at(statement)}: something is done on import; only an entry point does so`);
    }
  }
  walk(file.program, (node, context) => {
    const name = changedName(node, context);
    if (name === undefined || !constants.has(name) || context.isShadowed(name)) return;
    problems.push(`${at(node)}: ${name} is changed: module-level state`);
  });
  return problems;
}

/** The variable whose content a node changes, if it does. Building a table where it is declared is no change. */
function changedName(node: Node, { parents }: Context): string | undefined {
  switch (node.type) {
    case "CallExpression":
      return mutatedByCall(node);
    case "AssignmentExpression":
      return ownerOf(node.left);
    case "UpdateExpression":
      return ownerOf(node.argument);
    case "UnaryExpression":
      return node.operator === "delete" && parents.length > 0 ? ownerOf(node.argument) : undefined;
    default:
      return undefined;
  }
}

function mutatedByCall({ callee, arguments: given }: Node & { type: "CallExpression" }) {
  if (callee.type !== "MemberExpression" || callee.property.type !== "Identifier") return undefined;
  const method = callee.property.name;
  const [first] = given;
  if (callee.object.type === "Identifier" && callee.object.name === "Object") {
    return method === "assign" && first?.type === "Identifier" ? first.name : undefined;
  }
  return MUTATORS.has(method) && callee.object.type === "Identifier"
    ? callee.object.name
    : undefined;
}

/** The variable at the root of `a.b[c]`; undefined for a bare variable, which `const` already guards. */
function ownerOf(target: Node): string | undefined {
  if (target.type !== "MemberExpression") return undefined;
  const { object } = target;
  return object.type === "Identifier" ? object.name : ownerOf(object);
}
