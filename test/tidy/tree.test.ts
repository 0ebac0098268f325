/** The tidy rules on the checkout itself. Each rule's own test is in rules.test.ts. */
import { describe, expect, it } from "vitest";
import { docProblems } from "./docs.ts";
import { effectProblems } from "./effects.ts";
import { cycleProblems, deadFileProblems } from "./graph.ts";
import { importProblems } from "./import-rules.ts";
import { manifestProblems } from "./manifests.ts";
import { moduleStateProblems } from "./module-state.ts";
import {
  bareErrorCount,
  defaultExportProblems,
  migrationProblems,
  nameProblems,
  noteProblems,
  purposeProblems,
  skippedTestProblems,
} from "./shape.ts";
import { type Sizes, sizeProblems, sizesOf } from "./sizes.ts";
import { parseSources, readTree } from "./source.ts";

const tree = readTree();
const paths = tree.map(({ path }) => path);
const sources = parseSources(tree);

describe("the checkout", () => {
  it.each([
    ["imports only what its layer may", () => importProblems(sources)],
    ["has no import cycles", () => cycleProblems(sources)],
    ["has no dead files", () => deadFileProblems(sources)],
    ["has no module-level state", () => moduleStateProblems(sources)],
    ["begins effects only where they may begin", () => effectProblems(sources)],
    ["says at the top of each file what it is for", () => purposeProblems(tree)],
    ["names its files after concepts", () => nameProblems(sources)],
    ["has no default exports", () => defaultExportProblems(sources)],
    ["runs all its tests", () => skippedTestProblems(sources)],
    ["numbers its migrations one by one", () => migrationProblems(paths)],
    ["leaves no notes without an issue", () => noteProblems(sources)],
    ["keeps files and functions short", () => sizeProblems(sources)],
    ["pins every dependency exactly", () => manifestProblems(tree)],
    ["has documents that point to what is there", () => docProblems(tree, paths, scripts())],
  ])("%s", (_, problems) => {
    expect(problems()).toEqual([]);
  });

  it("reports its sizes", () => {
    const sizes = sizesOf(sources);
    console.log(report(sizes));
    expect(sizes.files.count).toBeGreaterThan(0);
    expect(sizes.functions.count).toBeGreaterThan(0);
  });
});

function scripts(): readonly string[] {
  const manifest = tree.find(({ path }) => path === "package.json");
  return Object.keys(JSON.parse(manifest?.text ?? "{}").scripts ?? {});
}

function report({ files, functions, commentShare, testLinesPerLine }: Sizes): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  return [
    `files: ${files.count}, median ${files.median} lines, p90 ${files.p90}, longest ${files.max}`,
    `functions: ${functions.count}, median ${functions.median} lines, p90 ${functions.p90}, longest ${functions.max}`,
    `comments: ${percent(commentShare)} of lines; tests: ${testLinesPerLine.toFixed(2)} lines per line`,
    `bare errors thrown: ${bareErrorCount(sources)}`,
  ].join("\n");
}
