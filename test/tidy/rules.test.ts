/** Each tidy rule finds a planted violation, names its place, and leaves the decent neighbour alone. */
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
import { sizeProblems, sizesOf } from "./sizes.ts";
import { parseSource, type SourceFile } from "./source.ts";

const file = (path: string, ...lines: string[]): SourceFile =>
  parseSource(path, `${lines.join("\n")}\n`);
const importing = (path: string, specifier: string) =>
  importProblems([file(path, `import { x } from "${specifier}";`, "x();")]);

describe("importProblems", () => {
  it.each([
    ["shared/src/a.ts", "@holdfast/proto/holdfast/link/v1/link_pb.js"],
    ["shared/src/a.ts", "node:fs/promises"],
    ["hub/src/app/a.ts", "@holdfast/agent/src/run.ts"],
    ["agent/src/run.ts", "../../hub/src/domain/a.ts"],
    ["hub/src/domain/a.ts", "../store/b.ts"],
    ["hub/src/store/a.ts", "../app/b.ts"],
    ["hub/src/app/a.ts", "../api/b.ts"],
    ["hub/src/api/a.ts", "../link/b.ts"],
    ["hub/src/tasks/a.ts", "../link/b.ts"],
    ["hub/src/link/a.ts", "../../cli/src/b.ts"],
    ["hub/src/novelty/a.ts", "../domain/b.ts"],
    ["hub/cli/src/a.ts", "../../src/domain/b.ts"],
    ["hub/cli/src/a.ts", "@holdfast/proto/holdfast/link/v1/link_pb.js"],
    ["hub/src/app/a.ts", "pg"],
    ["hub/src/app/a.ts", "@connectrpc/connect"],
    ["agent/src/reconcile/a.ts", "@grpc/grpc-js"],
    ["agent/src/metering/a.ts", "better-sqlite3"],
    ["agent/src/drivers/process/a.ts", "../container/b.ts"],
    ["agent/src/drivers/host-process/a.ts", "../process/b.ts"],
    ["agent/src/drivers/process/a.ts", "../../link/b.ts"],
    ["agent/src/drivers/process/a.ts", "../../store/b.ts"],
    ["agent/src/link/a.ts", "../drivers/process/b.ts"],
    ["agent/src/run.ts", "node:process"],
    ["agent/src/run.ts", "fs"],
    ["hub/src/serve.ts", "../../test/e2e/fleet.ts"],
    ["hub/src/api/a.test.ts", "../../../agent/src/run.ts"],
  ])("finds that %s imports %s", (path, specifier) => {
    expect(importing(path, specifier)).toEqual([
      expect.stringMatching(new RegExp(`^${path}:1: imports ${specifier}: `)),
    ]);
  });

  it.each([
    ["shared/src/a.ts", "@holdfast/proto/holdfast/model/v1/assignment_pb.js"],
    ["shared/src/a.ts", "node:crypto"],
    ["hub/src/app/a.ts", "../store/b.ts"],
    ["hub/src/api/a.ts", "../app/b.ts"],
    ["hub/src/api/a.ts", "@connectrpc/connect"],
    ["hub/src/main.ts", "./link/b.ts"],
    ["hub/cli/src/a.ts", "@holdfast/proto/holdfast/api/v1/cell_pb.js"],
    ["agent/src/run.ts", "./link/b.ts"],
    ["agent/src/drivers/process/a.ts", "../driver.ts"],
    ["agent/src/drivers/process/a.ts", "../host-process/b.ts"],
    ["test/e2e/a.test.ts", "@holdfast/hub/src/serve.ts"],
    ["test/e2e/a.test.ts", "pg"],
  ])("lets %s import %s", (path, specifier) => {
    expect(importing(path, specifier)).toEqual([]);
  });

  it("lets a part see the types of a port, and no more of it", () => {
    const from = "agent/src/store/a.ts";
    const types = 'import type { Link } from "../link/port.ts";';
    expect(importProblems([file(from, types)])).toEqual([]);
    expect(importing(from, "../link/port.ts")).toHaveLength(1);
  });

  it("sees dynamic imports and re-exports", () => {
    const path = "hub/src/domain/a.ts";
    const lines = ['export { x } from "../store/b.ts";', 'export const y = () => import("pg");'];
    expect(importProblems([file(path, ...lines)])).toHaveLength(2);
  });
});

describe("cycleProblems", () => {
  const a = file("shared/src/a.ts", 'import { b } from "./b.ts";', "export const a = () => b;");
  const b = (kind: string) =>
    file(
      "shared/src/b.ts",
      `import ${kind} { a } from "@holdfast/shared/a.ts";`,
      "export const b = 1;",
    );

  it("finds a cycle and spells it out", () => {
    expect(cycleProblems([a, b("")])).toEqual([
      "shared/src/a.ts -> shared/src/b.ts -> shared/src/a.ts: an import cycle",
    ]);
  });

  it("lets types refer to each other", () => {
    expect(cycleProblems([a, b("type")])).toEqual([]);
  });
});

describe("deadFileProblems", () => {
  const main = file("hub/src/main.ts", 'import "./used.ts";', 'start("./started.ts");');
  const test = file("hub/src/a.test.ts", 'import "./tested.ts";', 'import "./bed-testing.ts";');
  const others = ["used", "started", "tested", "dead", "bed-testing"].map((name) =>
    file(`hub/src/${name}.ts`, "export const x = 1;"),
  );

  it("finds what nothing leads to, and what only tests lead to", () => {
    expect(deadFileProblems([main, test, ...others])).toEqual([
      "hub/src/tested.ts: only tests import it",
      "hub/src/dead.ts: nothing imports it and it is no entry point",
    ]);
  });
});

describe("moduleStateProblems", () => {
  const stateIn = (...lines: string[]) => moduleStateProblems([file("hub/src/app/a.ts", ...lines)]);

  it.each([
    ["a let", "let count = 0; export const next = () => count;"],
    ["a var", "export var count = 0;"],
    ["a map that is set", "const seen = new Map(); export const see = () => seen.set(1, 2);"],
    ["an array that grows", "const all: number[] = []; export function add() { all.push(1); }"],
    ["an assigned field", "const state = { n: 0 }; export const set = () => { state.n = 1; };"],
    ["a deep assigned field", "const s = { a: [0] }; export const set = () => { s.a[0] += 1; };"],
    ["a counted field", "const state = { n: 0 }; export const next = () => state.n++;"],
    ["a deleted key", "const s: any = { n: 0 }; export const drop = () => delete s.n;"],
    ["Object.assign", "const s = {}; export const set = () => Object.assign(s, { a: 1 });"],
    ["work on import", "start();"],
  ])("finds %s", (_, code) => {
    expect(stateIn(code)).toEqual([expect.stringMatching(/^hub\/src\/app\/a\.ts:1: /)]);
  });

  it("leaves constants, locals and parameters of the same name alone", () => {
    const problems = stateIn(
      "const LIMITS = { rows: 10 };",
      "const names = new Set(['a']);",
      "export function f(names: Set<string>) { let n = LIMITS.rows; n += 1; names.add('b'); }",
      "export const has = (name: string) => names.has(name);",
      "export function g() { const names = new Set(); names.add(1); return names; }",
    );
    expect(problems).toEqual([]);
  });
});

describe("effectProblems", () => {
  const effectsIn = (path: string, ...lines: string[]) => effectProblems([file(path, ...lines)]);

  it.each([
    ["hub/src/serve.ts", "export const f = () => process.exit(1);"],
    ["hub/src/app/a.ts", "export const f = () => Date.now();"],
    ["agent/src/run.ts", "export const f = () => Math.random();"],
    ["agent/src/run.ts", "export const f = () => new Date();"],
    ["hub/src/domain/a.ts", "export const f = () => setTimeout(() => undefined, 1);"],
    ["hub/src/domain/a.ts", "export const f = () => crypto.randomUUID();"],
    ["shared/src/blueprint/a.ts", "export const f = () => Date.now();"],
    ["hub/src/app/a.ts", "export const sql = `select id from tenant`;"],
    ["hub/src/api/a.ts", 'export const sql = "delete from tenant where id = $1";'],
  ])("finds in %s: %s", (path, code) => {
    expect(effectsIn(path, code)).toEqual([expect.stringContaining(`${path}:1: `)]);
  });

  it.each([
    ["hub/src/main.ts", "process.exitCode = Number(Date.now() > 0);"],
    ["shared/src/clock.ts", "export const now = () => Date.now();"],
    [
      "agent/src/drivers/process/a.ts",
      "export const f = (process: { pid: number }) => process.pid;",
    ],
    ["agent/src/run.ts", "export const kinds = { process: 1 }; export const k = kinds.process;"],
    ["agent/src/run.ts", "export const at = (ms: number) => new Date(ms);"],
    ["hub/src/store/a.ts", "export const sql = `select id from tenant`;"],
    ["hub/src/app/a.ts", 'export const text = "select one from the list";'.replace("from", "of")],
    ["hub/src/app/a.test.ts", "export const f = () => Date.now();"],
  ])("lets %s have: %s", (path, code) => {
    expect(effectsIn(path, code)).toEqual([]);
  });
});

describe("purposeProblems", () => {
  const purpose = "what this file is for and what it refuses to do";

  it.each([
    ["shared/src/a.ts", "export const a = 1;\n"],
    ["shared/src/a.ts", "/** short */\nexport const a = 1;\n"],
    ["shared/src/a.ts", "export const a = 1;\n/** Long enough to be a purpose, but too late. */\n"],
    ["hub/src/store/migrations/000001_a.sql", "create table a ();\n"],
    ["proto/holdfast/api/v1/a.proto", 'syntax = "proto3";\n'],
    ["holdfast-hub", "#!/bin/sh\nexec node\n"],
  ])("finds %s with %j", (path, text) => {
    expect(purposeProblems([{ path, text }])).toHaveLength(1);
  });

  it.each([
    ["shared/src/a.ts", `/** ${purpose} */\nexport const a = 1;\n`],
    ["scripts/a.mjs", `#!/usr/bin/env node\n// ${purpose}\n`],
    ["hub/src/store/migrations/000001_a.sql", `-- ${purpose}\ncreate table a ();\n`],
    [".ci/run", `#!/bin/bash\n# ${purpose}\n`],
    ["proto/gen/holdfast/a_pb.js", "export const a = 1;\n"],
  ])("is content with %s", (path, text) => {
    expect(purposeProblems([{ path, text }])).toEqual([]);
  });
});

describe("the rules of shape", () => {
  it("finds migrations that share a number, or leave one out", () => {
    const paths = (...numbers: number[]) =>
      numbers.map((n, at) => `hub/src/store/migrations/00000${n}_${"ab"[at % 2]}.sql`);
    expect(migrationProblems(paths(1, 2, 3))).toEqual([]);
    expect(migrationProblems(paths(1, 2, 2))).toHaveLength(1);
    expect(migrationProblems(paths(1, 3))).toHaveLength(1);
  });

  it("finds names that name nothing, and names that are not in kebab-case", () => {
    const names = [
      "hub/src/utils.ts",
      "hub/src/helpers/a.ts",
      "hub/src/myFile.ts",
      "hub/src/a-b.ts",
    ];
    expect(nameProblems(names.map((name) => file(name, "")))).toHaveLength(3);
  });

  it("finds default exports, but not those of tools' configurations", () => {
    const code = "export default 1;";
    expect(defaultExportProblems([file("hub/src/a.ts", code)])).toEqual([
      "hub/src/a.ts:1: a default export",
    ]);
    expect(defaultExportProblems([file("vitest.config.ts", code)])).toEqual([]);
  });

  it.each(["only", "skip", "todo", "skipIf"])("finds a test with .%s", (word) => {
    const code = `it.${word}("works", () => undefined);`;
    expect(skippedTestProblems([file("hub/src/a.test.ts", code)])).toHaveLength(1);
    const chained = `describe.concurrent.${word}("x", () => undefined);`;
    expect(skippedTestProblems([file("hub/src/a.test.ts", chained)])).toHaveLength(1);
  });

  it("leaves .only of other things alone", () => {
    expect(skippedTestProblems([file("hub/src/a.test.ts", "query.only();")])).toEqual([]);
  });

  it("finds a note without an issue", () => {
    const notes = ["// TODO later", "// TODO(#12): later", "/* FIXME */"];
    expect(noteProblems([file("hub/src/a.ts", ...notes)])).toEqual([
      "hub/src/a.ts:1: TODO without an issue",
      "hub/src/a.ts:3: FIXME without an issue",
    ]);
  });

  it("counts bare errors", () => {
    const code = "export const f = () => { throw new Error('x'); };";
    expect(bareErrorCount([file("hub/src/a.ts", code), file("hub/src/a.test.ts", code)])).toBe(1);
  });
});

describe("sizeProblems", () => {
  const body = (lines: number) => Array.from({ length: lines }, (_, at) => `  use(${at});`);

  it("finds a function of 71 lines and a file of 401", () => {
    const long = file("hub/src/a.ts", "export function f() {", ...body(69), "}");
    expect(sizeProblems([long])).toEqual(["hub/src/a.ts:1: a function of 71 lines; at most 70"]);
    expect(sizeProblems([file("hub/src/b.ts", ...body(401))])).toEqual([
      "hub/src/b.ts: a file of 401 lines; at most 400",
    ]);
  });

  it("is content with 70 and 400, and with a long chapter of tests", () => {
    const chapter = ['describe.each([1])("x", () => {', ...body(100), "});"];
    const decent = [
      file("hub/src/a.ts", "export function f() {", ...body(68), "}"),
      file("hub/src/b.ts", ...body(400)),
      file("hub/src/a.test.ts", ...chapter),
      file("hub/src/b.test.ts", "export function suite() {", ...chapter, "}"),
    ];
    expect(sizeProblems(decent)).toEqual([]);
  });

  it("measures functions, files, comments and tests", () => {
    const program = file("hub/src/a.ts", "// one", "function f() {", "  use();", "}", "f();");
    const sizes = sizesOf([program, file("hub/src/a.test.ts", ...body(10))]);
    expect(sizes.files).toEqual({ count: 1, median: 5, p90: 5, max: 5 });
    expect(sizes.functions).toEqual({ count: 1, median: 3, p90: 3, max: 3 });
    expect(sizes).toMatchObject({ commentShare: 0.2, testLinesPerLine: 2 });
  });
});

describe("manifestProblems", () => {
  const manifest = (dependencies: object) => [
    { path: "pnpm-workspace.yaml", text: "catalog:\n  pg: 8.23.1\n" },
    { path: "hub/package.json", text: JSON.stringify({ dependencies }) },
  ];

  it.each(["^8.0.0", "latest", "8", "https://example.com/x.tgz"])(
    "finds the version %s",
    (version) => {
      expect(manifestProblems(manifest({ pg: "catalog:", x: version }))).toEqual([
        `hub/package.json: x is "${version}"; pin one exact version`,
      ]);
    },
  );

  it("finds a catalog entry that nobody uses, and one that is not there", () => {
    expect(manifestProblems(manifest({ yaml: "catalog:" }))).toHaveLength(2);
  });

  it("is content with exact versions, the catalog and our own packages", () => {
    const given = { pg: "catalog:", x: "1.2.3-beta.4", "@holdfast/shared": "workspace:*" };
    expect(manifestProblems(manifest(given))).toEqual([]);
  });
});

describe("docProblems", () => {
  const paths = ["README.md", "docs/adr/0001-a.md", "holdfast"];
  const docs = (text: string) =>
    docProblems([{ path: "README.md", text: `# The Name\n${text}` }], paths, ["start", "bench"]);

  it.each([
    ["a link to a file", "[x](docs/missing.md)"],
    ["a link to a heading", "[x](#no-name)"],
    ["an npm script", "run `npm run missing`"],
    ["an npm command", "```sh\nnpm bench-all\n```"],
    ["a program", "```sh\n./holdfast-missing get\n```"],
  ])("finds %s that is not there", (_, text) => {
    expect(docs(text)).toHaveLength(1);
  });

  it("is content with what is there", () => {
    const text =
      "[x](docs/adr) [y](docs/adr/0001-a.md) [z](#the-name) [w](https://example.com)\n" +
      "```sh\nnpm start\nnpm test\nnpm run bench -- x\n./holdfast get tenants\n```\n";
    expect(docs(text)).toEqual([]);
  });
});
