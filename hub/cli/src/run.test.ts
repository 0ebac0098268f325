/** What is wrong before any hub is asked: exit codes, words, and the one command to run next. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EXIT_MEANINGS } from "./exit-codes.ts";
import { KINDS } from "./kinds.ts";
import { TestTerminal } from "./terminal.fixture.ts";

const run = (...args: string[]) => new TestTerminal().run(...args);

describe("usage", () => {
  it.each([
    [["gett"], "unknown command 'gett' (Did you mean get?)", "holdfast help"],
    [["get"], "missing required argument 'kind'", "holdfast get --help"],
    [["get", "instance", "--outptu", "json"], "(Did you mean --output?)", "holdfast get --help"],
    [["get", "instnce"], "did you mean instance?", "holdfast get --help"],
    [["get", "a", "b", "c"], "too many arguments", "holdfast get --help"],
    [
      ["get", "ins", "-o", "json", "--output", "yaml"],
      "option --output is given twice (json and yaml)",
      "holdfast get --help",
    ],
    [
      ["delete", "ins", "a", "--yes", "-y"],
      "option --yes is given twice",
      "holdfast delete --help",
    ],
    [
      ["get", "ins", "-o", "xml"],
      "Allowed choices are table, json, yaml, name.",
      "holdfast get --help",
    ],
    [
      ["--context", "acme", "--output=json", "get", "instnce"],
      "did you mean instance?",
      "holdfast get --help",
    ],
    [
      ["--output", "yaml", "get", "ins", "-o", "json"],
      "option --output is given twice (json and yaml)",
      "holdfast get --help",
    ],
    [["apply"], "required option '-f, --file <file>' not specified", "holdfast apply --help"],
    [
      ["apply", "-f", "/nope.yaml"],
      "file /nope.yaml: no such file (ENOENT)",
      "holdfast apply --help",
    ],
    [["apply", "-f", "/"], "file /: it is a directory (EISDIR)", "holdfast apply --help"],
    [
      ["wait", "ins", "a", "--for", "Ready", "--timeout", "5"],
      "Allowed: a whole number with a unit",
      "holdfast wait --help",
    ],
    [["release"], "a command is missing", "holdfast release --help"],
    [
      ["release", "publsh"],
      "unknown command 'publsh' (Did you mean publish?)",
      "holdfast release --help",
    ],
    [["help", "exitcodes"], "did you mean exit-codes?", "holdfast help"],
  ])("%j ends with 2", async (args, says, next) => {
    const { code, out, err } = await run(...args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(says);
    expect(err.endsWith(`\nnext: ${next}\n`)).toBe(true);
  });

  it.each([["--token", "x"], ["--token=x"], ["--password", "x"], ["--api-key=x"]])(
    "refuses a secret as an argument: %s",
    async (...flags) => {
      const { code, err } = await run("get", "instance", ...flags);
      expect(code).toBe(2);
      expect(err).toContain("use a file or stdin; arguments are visible to other users");
    },
  );

  it("shows help without arguments, and for each command on stdout", async () => {
    expect(await run()).toMatchObject({ code: 0, err: "" });
    expect((await run("get", "--help")).out).toContain("Usage: holdfast get");
    expect((await run("help", "release", "publish")).out).toContain("--key <file>");
    expect((await run("version")).out).toBe("holdfast 0.0.0-test\n");
    expect(await run("--version")).toMatchObject({ code: 0, out: "holdfast 0.0.0-test\n" });
  });

  it("explains every exit code", async () => {
    const { out } = await run("help", "exit-codes");
    expect(out.trimEnd().split("\n")).toHaveLength(EXIT_MEANINGS.length);
    expect(EXIT_MEANINGS.map(([code]) => code)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
  });

  it("has no two kinds with one name", () => {
    const words = KINDS.flatMap(({ name, plural, short }) => [name, plural, ...short]);
    expect(new Set(words).size).toBe(words.length);
  });
});

describe("manifests", () => {
  const apply = async (text: string) => {
    const user = new TestTerminal();
    writeFileSync(join(user.directory, "x.yaml"), text);
    return await user.run("apply", "-f", "x.yaml");
  };

  it("are refused with file, line and column", async () => {
    const { code, err } = await apply("a: 1\na: 2\n");
    expect([code, err]).toEqual([
      2,
      "error: INVALID_ARGUMENT YAML_INVALID: x.yaml:2:1: the key a is there twice\nnext: holdfast apply -f x.yaml --dry-run=server\n",
    ]);
  });

  it("are refused with all problems of all documents", async () => {
    const { code, err } = await apply(`
apiVersion: holdfast/v1
kind: Instnce
---
apiVersion: holdfast/v1
kind: Cell
metadata: {name: eu, labls: {a: b}}
spec: {kind: moon, region: 5}
---
apiVersion: holdfast/v1
kind: Blueprint
`);
    expect(code).toBe(2);
    expect(err).toContain("x.yaml:2: kind: got Instnce; allowed:");
    expect(err).toContain("did you mean Instance?");
    expect(err).toContain("x.yaml:5: metadata.labls: unknown field; did you mean labels?");
    expect(err).toContain("x.yaml:5: spec.kind: got moon; allowed: byoa, hosted");
    expect(err).toContain("x.yaml:5: spec.region: got 5; allowed: text");
    expect(err).toContain("holdfast release publish");
  });

  it.each([
    ['instancesMax: "0x10"', 'capacity.instancesMax: got "0x10"'],
    ['instancesMax: "010"', 'capacity.instancesMax: got "010"'],
    ["instancesMax: 0x10", "got 0x10; ambiguous number"],
    ["instancesMax: 1_000", 'capacity.instancesMax: got "1_000"'],
    ["instancesMax: .nan", "got .nan; ambiguous number"],
    ["instancesMax: -1", "capacity.instancesMax: got -1; allowed: 0 to 4294967295"],
    ["instancesMax: 1.5", "capacity.instancesMax: got 1.5; allowed: a decimal integer such as 16"],
    ['resources: {cpu: "010"}', 'capacity.resources.cpu: got "010"'],
    ['resources: {cpu: "1e3"}', 'capacity.resources.cpu: got "1e3"'],
    ['resources: {cpu: "18446744073709551616"}', "allowed: 0 to 18446744073709551615"],
  ])("are refused with %s where a number is wanted", async (text, says) => {
    const { code, err } = await apply(
      `apiVersion: holdfast/v1\nkind: Cell\nmetadata: {name: eu}\nspec: {kind: byoa, capacity: {${text}}}\n`,
    );
    expect([code, err]).toEqual([2, expect.stringContaining(says)]);
  });
});

describe("contexts", () => {
  const local = (user: TestTerminal, text: string) => {
    mkdirSync(join(user.directory, ".holdfast"));
    writeFileSync(join(user.directory, ".holdfast", "context.yaml"), text);
  };

  it("are asked for where there are none", async () => {
    const { code, err } = await run("get", "instance");
    expect(code).toBe(2);
    expect(err).toContain("CONTEXT_MISSING");
    expect(err).toContain("next: holdfast context set NAME --api");
  });

  it("are kept in a file for their owner only; the nearest file goes first", async () => {
    const user = new TestTerminal();
    expect(
      (
        await user.run(
          "context",
          "set",
          "prod",
          "--api",
          "https://hub.example:7400",
          "--ca-file",
          "ca.pem",
        )
      ).code,
    ).toBe(0);
    const path = join(user.directory, "home/.config/holdfast/contexts.yaml");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    local(user, "current: dev\ncontexts: {dev: {api: 'http://127.0.0.1:1'}}");
    const { out } = await user.run("context", "list", "-o", "json");
    expect(JSON.parse(out).contexts).toMatchObject([
      { name: "dev", current: true },
      { name: "prod", current: false },
    ]);
    expect((await user.run("get", "tenants")).err).toContain(
      "the hub at http://127.0.0.1:1 cannot be reached",
    );
    const prod = await user.run("get", "tenants", "--context", "prod");
    expect(prod.err).toContain(`CA file ${join(user.directory, "ca.pem")}: no such file (ENOENT)`);
    expect((await user.run("context", "use", "prd")).code).toBe(3);
    expect((await user.run("context", "use", "prod")).err).toContain("goes before it");
  });

  it("come from the file that HOLDFAST_CONTEXT_FILE names, and never from another instead", async () => {
    const user = new TestTerminal();
    user.useHub("http://127.0.0.1:1", "hft_x");
    const named = user.file(
      "fleet.yaml",
      "current: own\ncontexts: {own: {api: 'http://127.0.0.1:2'}}",
    );
    user.env = { HOLDFAST_CONTEXT_FILE: named };
    expect((await user.run("context", "list", "-o", "name")).out).toBe("own\n");
    user.env = { HOLDFAST_CONTEXT_FILE: "gone.yaml" };
    const { code, err } = await user.run("get", "tenants");
    expect(code).toBe(2);
    expect(err).toContain("CONTEXT_MISSING");
    expect(err).toContain(join(user.directory, "gone.yaml"));
  });

  it("are shown without their token, and forgotten without their token file", async () => {
    const user = new TestTerminal();
    user.useHub("http://127.0.0.1:1", "hft_x");
    const { out } = await user.run("context", "show");
    expect(out).toMatch(/^name +test\napi +http:\/\/127\.0\.0\.1:1\ntoken_file +\S+\nfile +\S+\n$/);
    expect(out).not.toContain("hft_x");
    expect((await user.run("context", "show", "tset")).err).toContain("did you mean test?");
    expect((await user.run("context", "delete", "tset")).code).toBe(3);
    const gone = await user.run("context", "delete", "test");
    expect([gone.code, gone.err]).toEqual([0, expect.stringContaining("no context is current")]);
    expect(statSync(join(user.directory, ".holdfast/token")).isFile()).toBe(true);
    expect((await user.run("context", "list", "-o", "name")).out).toBe("");
  });

  it("are refused with all that is wrong with their file", async () => {
    const user = new TestTerminal();
    local(user, "curent: x\ncontexts: {dev: {apii: 'http://127.0.0.1:1'}}");
    const { code, err } = await user.run("get", "tenants");
    expect(code).toBe(2);
    expect(err).toContain("context.yaml: curent: unknown key");
    expect(err).toContain("contexts.dev.apii: unknown key; did you mean api?");
    expect(err).toContain("contexts.dev.api: required");
  });

  it.each([
    ["http://hub.example:7400", "https only, but for http on loopback"],
    ["https://me:hunter2@hub.example", "must not hold credentials"],
    ["hub.example", "not a URL"],
    ["https://hub.example:7400/v1", "nothing may follow the host; got /v1"],
    ["https://hub.example:7400/?token=x", "nothing may follow the host"],
    ["https://10.0.0.1:7400", "an IP address needs a pinned root; give --ca-file"],
    ["https://[::1]:7400", "an IP address needs a pinned root"],
  ])("never use %s", async (api, says) => {
    const { code, err } = await run("get", "tenants", "--api", api);
    expect([code, err.includes("hunter2")]).toEqual([2, false]);
    expect(err).toContain(says);
  });

  it("warn of a token that others can read", async () => {
    const user = new TestTerminal();
    writeFileSync(join(user.directory, "token"), "hft_x", { mode: 0o644 });
    const { err } = await user.run(
      "get",
      "tenants",
      "--api",
      "http://127.0.0.1:1",
      "--token-file",
      "token",
    );
    expect(err).toContain("can be read by other users");
    expect(err).not.toContain("hft_x");
  });
});
