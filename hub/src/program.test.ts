/** The command line as a person meets it: exit codes and what is said about bad configuration. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterAll, describe, expect, it } from "vitest";
import { run } from "./program.ts";

const directory = mkdtempSync(join(tmpdir(), "hf-program-"));
afterAll(() => rmSync(directory, { recursive: true }));

async function said(
  args: readonly string[],
  env: Record<string, string> = {},
  nodeVersion = "24.21.0",
) {
  const lines: string[] = [];
  const errors: string[] = [];
  const code = await run(args, {
    env,
    workingDirectory: directory,
    nodeVersion,
    uid: 0,
    pid: 1,
    kill: () => undefined,
    tempDir: tmpdir(),
    platform: { os: "linux", cpu: "x64" },
    version: "test",
    clock: systemClock,
    random: Math.random,
    onCrash: () => undefined,
    stop: new AbortController().signal,
    print: (line) => void lines.push(line),
    printError: (line) => void errors.push(line),
  });
  return { code, out: lines.join("\n"), err: errors.join("\n") };
}

function fileWith(text: string): string {
  const path = join(mkdtempSync(join(directory, "c-")), "hub.yaml");
  writeFileSync(path, text);
  return path;
}

describe("holdfast-hub", () => {
  it.each(["--version", "version"])("says who it is by %s", async (word) => {
    expect(await said([word])).toEqual({ code: 0, out: "holdfast-hub test", err: "" });
  });

  it("does not serve on a Node.js that is too old", async () => {
    const config = fileWith(`data_dir: ${join(directory, "never-ran")}\n`);
    const { code, err } = await said(["serve", "--config", config], {}, "22.18.0");
    expect(code).toBe(5);
    expect(err).toContain("NODE_TOO_OLD: Node.js 22.18.0; 24 or newer is needed");
  });

  it("takes a flight only where there is one, and replays only what is one", async () => {
    const config = fileWith(`data_dir: ${join(directory, "never-ran")}\n`);
    const out = join(directory, "flight.jsonl");
    const missing = await said(["record", "--config", config, "--out", out]);
    expect([missing.code, missing.err]).toEqual([3, expect.stringContaining("FLIGHT_MISSING")]);
    const damaged = await said(["replay", config]);
    expect([damaged.code, damaged.err]).toEqual([2, expect.stringContaining(`${config}:1: got`)]);
    expect((await said(["replay", join(directory, "absent")])).code).toBe(2);
  });

  it.each([
    { it: "is missing", path: () => join(directory, "absent.yaml"), says: "no such file (ENOENT)" },
    {
      it: "is a directory",
      path: () => {
        mkdirSync(join(directory, "folder"), { recursive: true });
        return join(directory, "folder");
      },
      says: "it is a directory (EISDIR)",
    },
  ])("ends with 2 when the configuration file $it", async ({ path, says }) => {
    const { code, err } = await said(["serve", "--config", path()]);
    expect(code).toBe(2);
    expect(err).toContain(path());
    expect(err).toContain(says);
    expect(err.split("\n").at(-1)).toMatch(/^next: /);
  });

  it.each([
    {
      it: "an unknown key",
      text: "data_dir: /x\napi_lisen: a:1\n",
      says: "did you mean api_listen",
    },
    { it: "a key twice", text: "data_dir: /x\ndata_dir: /y\n", says: ":2:1" },
    { it: "a tab", text: "data_dir:\n\t/x\n", says: ":2:1" },
    { it: "more than 1 MiB", text: `data_dir: ${"x".repeat(1_100_000)}\n`, says: "(1 MiB)" },
    { it: "two documents", text: "data_dir: /x\n---\ndata_dir: /y\n", says: ":3:1" },
    { it: "a tag", text: 'data_dir: !!js/function "x"\n', says: "tags are not allowed" },
    {
      it: "too many aliases",
      text: `data_dir: &a x\nvendor: [${"*a,".repeat(51)}]\n`,
      says: "aliases are limited to 50",
    },
    {
      it: "another database",
      text: "data_dir: /x\ndatabase_url: mysql://u:secret@h/d\n",
      says: "postgres or postgresql only",
    },
    {
      it: "a number as text",
      text: 'data_dir: /x\nshutdown_ms_max: "5000"\n',
      says: "not a whole number",
    },
  ])("ends with 2 and says where when the file has $it", async ({ text, says }) => {
    const { code, err } = await said(["serve", "--config", fileWith(text)]);
    expect(code).toBe(2);
    expect(err).toContain(says);
    expect(err).not.toContain("secret");
  });

  it("names the key login that an own database needs", async () => {
    const config = fileWith(`data_dir: ${join(directory, "d")}\ndatabase_url: postgres://h/d\n`);
    const { code, err } = await said(["serve", "--config", config]);
    expect(code).toBe(2);
    expect(err).toContain("key_database_url");
  });

  it("ends with 2 for a command or a flag that does not exist", async () => {
    expect((await said(["srve"])).code).toBe(2);
    expect((await said(["serve", "--nope"])).code).toBe(2);
  });

  it("doctor reports every problem and changes nothing", async () => {
    const text = `data_dir: ${join(directory, "none")}\napi_listen: 127.0.0.1:0\nlink_listen: 127.0.0.1:0\nidentity_listen: 127.0.0.1:0\n`;
    const { code, out } = await said(["doctor", "-o", "json", "--config", fileWith(text)]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ healthy: true });
    const bad = await said(["doctor", "-o", "json"], { HOLDFAST_HUB_VENDOR: "Not Good" });
    expect(bad.code).toBe(1);
    const findings = JSON.parse(bad.out).findings as {
      check: string;
      ok: boolean;
      message: string;
    }[];
    const config = findings.find(({ check }) => check === "config");
    expect(config?.ok).toBe(false);
    expect(config?.message).toContain("data_dir");
    expect(config?.message).toContain("HOLDFAST_HUB_VENDOR");
  });
});
