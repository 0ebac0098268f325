/** The table of bad inputs: every promised answer names the test that holds it, and that test is there. */
import type { Problem, TextFile } from "./source.ts";

export const BAD_INPUT_TABLE = "test/bad-input.csv";

/** Rows of the table of bad inputs that must be answered by now. */
export const ROWS_DUE = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
  28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 42, 43, 44, 45, 51, 52, 58, 59, 60, 61, 69, 70, 71,
  72,
] as const;

const HEADER = ["row", "clause", "status", "test"];

/** `row,clause,status,test`, where status is `done` or `later: PART` and test is `path: words of its title`. */
export function badInputProblems(
  files: readonly TextFile[],
  due: readonly number[] = ROWS_DUE,
): readonly Problem[] {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const table = texts.get(BAD_INPUT_TABLE);
  if (table === undefined) return [`${BAD_INPUT_TABLE}: it is missing`];
  const [header = [], ...lines] = table.trimEnd().split("\n").map(cellsOf);
  if (header.join() !== HEADER.join()) return [`${BAD_INPUT_TABLE}:1: not ${HEADER.join()}`];
  const found = lines.flatMap((cells, index) =>
    lineProblem(cells, texts).map((problem) => `${BAD_INPUT_TABLE}:${index + 2}: ${problem}`),
  );
  const done = new Set(lines.filter(([, , status]) => status === "done").map(([row]) => row));
  const absent = due.filter((row) => !done.has(String(row)));
  return [...found, ...absent.map((row) => `${BAD_INPUT_TABLE}: row ${row} has no test`)];
}

function lineProblem(
  cells: readonly string[],
  texts: ReadonlyMap<string, string>,
): readonly string[] {
  const [row = "", clause = "", status = "", test = ""] = cells;
  if (cells.length !== HEADER.length) return [`${cells.length} cells; allowed: ${HEADER.length}`];
  if (!/^[1-9]\d?$/.test(row) || clause === "") return ["without a row or a clause"];
  if (/^later: .+/.test(status)) return [];
  if (status !== "done") return [`status ${status}; allowed: done, later: PART`];
  const [, path = "", title = ""] = /^([^:]+): (.+)$/s.exec(test) ?? [];
  const text = texts.get(path);
  if (!path.endsWith(".test.ts") || text === undefined) return [`no test file ${path || test}`];
  return text.includes(title) ? [] : [`${path} has no test "${title}"`];
}

/** One line of CSV; a cell in quotes may hold commas, and quotes twice. */
function cellsOf(line: string): readonly string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)].map(
    ([, quoted, plain = ""]) => quoted?.replaceAll('""', '"') ?? plain,
  );
}
