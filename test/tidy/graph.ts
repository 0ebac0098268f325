/** The import graph: no cycles, and no file that no program needs. */
import { posix } from "node:path";
import { resolveImport } from "./import-rules.ts";
import { isEntry, isTest, isTestSupport, type Problem, type SourceFile } from "./source.ts";
import { walk } from "./walk.ts";

type Graph = ReadonlyMap<string, readonly string[]>;

/** Cycles of imports that are there at run time; types may refer to each other. One line for each cycle. */
export function cycleProblems(files: readonly SourceFile[]): readonly Problem[] {
  const graph = graphOf(files, (file) =>
    file.imports.filter(({ isType }) => !isType).map(({ specifier }) => specifier),
  );
  const problems: Problem[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start !== -1) {
      problems.push(`${[...trail.slice(start), path].join(" -> ")}: an import cycle`);
      return;
    }
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return problems;
}

/**
 * Files that nothing leads to from an entry point or a test. What only tests lead to is dead as well, unless it is
 * named as theirs.
 */
export function deadFileProblems(files: readonly SourceFile[]): readonly Problem[] {
  const graph = graphOf(files, (file) => [
    ...file.imports.map(({ specifier }) => specifier),
    ...pathsNamedIn(file),
  ]);
  const live = reachable(graph, [...graph.keys()].filter(isEntry));
  const tested = reachable(
    graph,
    [...graph.keys()].filter((path) => /\.test\.\w+$/.test(path)),
  );
  return [...graph.keys()].flatMap((path) => {
    if (live.has(path)) return [];
    if (!tested.has(path)) return [`${path}: nothing imports it and it is no entry point`];
    return isTest(path) || isTestSupport(path) ? [] : [`${path}: only tests import it`];
  });
}

function graphOf(
  files: readonly SourceFile[],
  specifiersOf: (file: SourceFile) => readonly string[],
): Graph {
  const known = new Set(files.map(({ path }) => path));
  return new Map(
    files.map((file) => {
      const targets = specifiersOf(file).map((each) => resolveImport(file.path, each) ?? each);
      return [file.path, targets.filter((target) => known.has(target))];
    }),
  );
}

/** Programs that are started rather than imported: string literals that name a file, from here or from the root. */
function pathsNamedIn(file: SourceFile): readonly string[] {
  const paths: string[] = [];
  walk(file.program, (node) => {
    if (node.type !== "Literal" || typeof node.value !== "string") return;
    if (!/^[\w./-]+\.(ts|mjs|cjs)$/.test(node.value)) return;
    paths.push(node.value, posix.join(posix.dirname(file.path), node.value));
  });
  return paths;
}

function reachable(graph: Graph, roots: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const queue = [...roots];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    queue.push(...(graph.get(path) ?? []));
  }
  return seen;
}
