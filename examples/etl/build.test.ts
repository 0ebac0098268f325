/** The artefacts, and the commands and documents around them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildReleases, VERSIONS } from "./build.ts";
import { sourceRow } from "./src/source.ts";
import { until } from "./src/testing/fleet.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "etl-build-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("build", () => {
  it("makes the same bytes twice, one file per release, each different", async () => {
    await buildReleases(join(directory, "a"));
    await buildReleases(join(directory, "b"));
    const bytes = VERSIONS.map((version) => {
      expect(readdirSync(join(directory, "a", version))).toEqual(["worker.mjs"]);
      const [a, b] = ["a", "b"].map((run) =>
        readFileSync(join(directory, run, version, "worker.mjs"), "utf8"),
      );
      expect(a === b).toBe(true);
      return a;
    });
    expect(new Set(bytes).size).toBe(VERSIONS.length);
    // No path of the machine that built it.
    expect(bytes.join("").includes(fileURLToPath(new URL(".", import.meta.url)))).toBe(false);
  });

  it.each(VERSIONS)("has a blueprint that names the artefact of %s", (version) => {
    const name = `release-${version.split(".").slice(0, 2).join(".")}.yaml`;
    const text = readFileSync(new URL(name, import.meta.url), "utf8");
    expect(text).toContain(`\nversion: ${version}\n`);
    expect(text).toContain(`path: dist/${version} }`);
  });
});

describe("seed", () => {
  const seed = fileURLToPath(new URL("src/seed.ts", import.meta.url));
  const run = (...more: string[]) =>
    spawn(process.execPath, ["--no-warnings", seed, ...more], { stdio: "ignore" });
  const rowsOf = (file: string) => {
    const database = new DatabaseSync(file, { readOnly: true, timeout: 1_000 });
    const rows = database.prepare("select * from payment order by id").all();
    database.close();
    return rows.map((row) => ({ ...row }));
  };
  const flags = (file: string, rows: number) => [
    "--file",
    file,
    "--accounts",
    "acme,globex",
    "--seed",
    "7",
    "--rows",
    String(rows),
  ];

  it("gives the same rows whether at once or in two runs", async () => {
    const [once_, twice] = [join(directory, "1.db"), join(directory, "2.db")];
    expect(await once(run(...flags(once_, 1_500)), "exit")).toEqual([0, null]);
    expect(await once(run(...flags(twice, 700)), "exit")).toEqual([0, null]);
    expect(await once(run(...flags(twice, 1_500)), "exit")).toEqual([0, null]);
    expect(rowsOf(once_)).toHaveLength(1_500);
    expect(rowsOf(twice)).toEqual(rowsOf(once_));
    const { account, note } = sourceRow({ accounts: ["acme", "globex"], seed: 7 }, 42);
    expect(rowsOf(once_)[41]).toMatchObject({ id: 42, account, note });
  });

  it("keeps adding rows until SIGTERM", async () => {
    const file = join(directory, "3.db");
    const child = run(...flags(file, 10), "--every-ms", "5", "--batch", "3");
    const exit = once(child, "exit");
    try {
      await until("rows were added", () => {
        try {
          return rowsOf(file).length >= 22;
        } catch (error) {
          if (/unable to open|no such table|locked/.test(String(error))) return false;
          throw error;
        }
      });
    } finally {
      child.kill("SIGTERM");
    }
    expect(await exit).toEqual([0, null]);
    expect((rowsOf(file).length - 10) % 3).toBe(0);
  });

  it("refuses a wrong number with exit code 2", async () => {
    expect(await once(run("--file", "x", "--accounts", "a", "--rows", "many"), "exit")).toEqual([
      2,
      null,
    ]);
  });
});
