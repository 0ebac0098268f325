/** What the spec of a process may hold. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { type Loose, violationsOf } from "../blueprint.fixture.ts";
import { checkProcessSpec, readProcessSpec } from "./process.ts";

const sound = (): Loose => ({
  artefact: "worker",
  argv: ["node", "worker.mjs", "--n", 5],
  env: { A: "1", B: 2, C: true },
  secretFiles: { dsn: "${secrets.source_dsn}" },
  ports: { http: {}, admin: { fixed: 8080 } },
  readiness: { http: { port: "http", path: "/healthz" } },
  liveness: { tcp: { port: "admin" }, intervalMs: 1000 },
});

function problemsOf(change: (spec: Loose) => void): readonly string[] {
  const spec = sound();
  change(spec);
  return checkProcessSpec(spec, "spec").map(({ path, message }) => `${path}: ${message}`);
}

describe("readProcessSpec", () => {
  it("fills defaults in and makes text of numbers and booleans", () => {
    expect(readProcessSpec(sound(), "spec")).toEqual({
      artefact: "worker",
      argv: ["node", "worker.mjs", "--n", "5"],
      env: { A: "1", B: "2", C: "true" },
      secretFiles: { dsn: "source_dsn" },
      ports: { http: {}, admin: { fixed: 8080 } },
      readiness: {
        http: { port: "http", path: "/healthz" },
        intervalMs: 200,
        timeoutMs: 1000,
        deadlineMs: 30_000,
      },
      liveness: { tcp: { port: "admin" }, intervalMs: 1000, timeoutMs: 1000, failures: 3 },
      stop: { signal: "SIGTERM", graceMs: 10_000, drainMs: 0 },
      restart: { baseMs: 500, capMs: 30_000 },
    });
  });

  it("throws all problems at once", () => {
    const found = violationsOf(() => readProcessSpec({ argv: "x", envs: {} }, "spec"));
    expect(found).toHaveLength(3);
  });
});

describe("checkProcessSpec", () => {
  it.each(["id; rm -rf /", "a && b", "`id`", "node worker.mjs"])(
    "refuses the command %j as text",
    (argv) => {
      expect(problemsOf((s) => (s.argv = argv))[0]).toContain("spec.argv: a command as text");
    },
  );

  it("keeps metacharacters in arguments as they are", () => {
    const argv = ["node", "worker.mjs", "; rm -rf / && `id` $(id)"];
    expect(readProcessSpec({ ...sound(), argv }, "spec").argv).toEqual(argv);
  });

  it.each<[string, string[]]>([
    ["an absolute program", ["/bin/sh"]],
    ["a program above the artefact", ["../sh"]],
    ["a program with . in its path", ["./sh"]],
    ["a program with a space", ["a b"]],
    ["an empty program", [""]],
    ["a runtime without a script", ["node"]],
    ["a runtime with an option", ["node", "--eval"]],
    ["a runtime with a script elsewhere", ["node", "/tmp/x.mjs"]],
    ["a runtime with a script above", ["node", "a/../../x.mjs"]],
    ["no arguments", []],
  ])("refuses %s", (_, argv) => {
    expect(problemsOf((s) => (s.argv = argv))).toHaveLength(1);
  });

  it("accepts a program inside the artefact", () => {
    expect(problemsOf((s) => (s.argv = ["bin/worker", "--x"]))).toEqual([]);
  });

  it.each([
    "LD_PRELOAD",
    "ld_library_path",
    "DYLD_INSERT_LIBRARIES",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "BASH_ENV",
    "PATH",
    "HOLDFAST_INSTANCE",
    "A=B",
    "A\nB",
    "",
    "1A",
    "__proto__ ",
  ])("denies the variable %j", (name) => {
    expect(problemsOf((s) => (s.env = { [name]: "x" }))).toHaveLength(1);
  });

  it.each<[string, (spec: Loose) => void, string]>([
    ["port 0", (s) => (s.ports.http.fixed = 0), "spec.ports.http.fixed: out of range; got 0"],
    ["port 1023", (s) => (s.ports.http.fixed = 1023), "from 1024 to 65535"],
    ["port 65536", (s) => (s.ports.http.fixed = 65_536), "from 1024 to 65535"],
    ["a port as text", (s) => (s.ports.http.fixed = "8081"), "not a whole number"],
    ["one port twice", (s) => (s.ports.http.fixed = 8080), "used twice; got 8080"],
    ["a check of an undeclared port", (s) => (s.readiness.http.port = "x"), "allowed: http, admin"],
    [
      "a check of another host",
      (s) => (s.readiness.http.path = "http://169.254.169.254/"),
      "readiness.http.path",
    ],
    [
      "a check of another host by two slashes",
      (s) => (s.readiness.http.path = "//169.254.169.254/"),
      "readiness.http.path",
    ],
    ["a check by a command", (s) => (s.readiness.exec = ["sh"]), "readiness.exec: unknown field"],
    ["both kinds of check", (s) => (s.readiness.tcp = { port: "http" }), "needs one kind of check"],
    ["no kind of check", (s) => delete s.readiness.http, "needs one kind of check"],
    [
      "interval 0",
      (s) => (s.readiness.intervalMs = 0),
      "readiness.intervalMs: out of range; got 0",
    ],
    [
      "a timeout beyond the interval",
      (s) => (s.liveness.timeoutMs = 2000),
      "longer than intervalMs",
    ],
    [
      "a timeout beyond the deadline",
      (s) => Object.assign(s.readiness, { timeoutMs: 500, deadlineMs: 400 }),
      "longer than deadlineMs",
    ],
    [
      "an unknown signal",
      (s) => (s.stop = { signal: "SIGKILL" }),
      "stop.signal: unknown word; got SIGKILL",
    ],
    [
      "an inverted back-off",
      (s) => (s.restart = { baseMs: 1000, capMs: 500 }),
      "smaller than baseMs",
    ],
    [
      "text for a secret",
      (s) => (s.secretFiles.dsn = "postgres://hunter2"),
      "not a reference to a secret",
    ],
    ["a secret file above", (s) => (s.secretFiles = { "../x": "${secrets.a}" }), "not a file name"],
    ["NUL in an argument", (s) => s.argv.push("a\0b"), "has a NUL character"],
    ["a list as an argument", (s) => s.argv.push(["x"]), "not text"],
    ["a working directory", (s) => (s.cwd = "/"), "spec.cwd: unknown field"],
  ])("refuses %s", (_, change, says) => {
    const found = problemsOf(change).join("\n");
    expect(found).toContain(says);
    expect(found).not.toContain("hunter2");
  });
});
