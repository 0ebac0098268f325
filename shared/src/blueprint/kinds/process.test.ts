/** What the spec of a process may hold. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { type Loose, violationsOf } from "../blueprint.fixture.ts";
import { checkProcessSpec, readProcessSpec } from "./process.ts";
import { openAmounts } from "./process-limits.ts";

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
      limits: {},
      requests: {},
      umask: 0o077,
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

  it("takes amounts as whole numbers or as one whole expression", () => {
    const limits = { cpuMillis: 10, memoryMib: 16_777_216, pids: "${params.pids}" };
    expect(problemsOf((s) => (s.limits = limits))).toEqual([]);
    const { limits: read } = readProcessSpec({ ...sound(), limits }, "spec");
    expect(read).toEqual({ cpuMillis: 10, memoryMib: 16_777_216 });
    expect(openAmounts({ limits })).toEqual(["limits.pids"]);
    expect(openAmounts({ limits: { pids: 5 } })).toEqual([]);
  });

  it.each([
    ["027", 0o027],
    ["0002", 0o002],
    ["077", 0o077],
  ] as const)("reads the umask %s", (text, umask) => {
    expect(readProcessSpec({ ...sound(), umask: text }, "spec").umask).toBe(umask);
  });

  it("accepts a probe by a program of the artefact, with slower defaults", () => {
    const exec = { argv: ["node", "check.mjs", "--deep", 1] };
    const read = readProcessSpec({ ...sound(), readiness: { exec }, liveness: { exec } }, "spec");
    const argv = ["node", "check.mjs", "--deep", "1"];
    expect(read.readiness).toMatchObject({ exec: { argv }, intervalMs: 1_000, timeoutMs: 1_000 });
    expect(read.liveness).toMatchObject({ exec: { argv }, intervalMs: 5_000, timeoutMs: 2_000 });
  });

  it("accepts a program inside the artefact", () => {
    expect(problemsOf((s) => (s.argv = ["bin/worker", "--x"]))).toEqual([]);
  });

  it.each([
    ...["LD_PRELOAD", "ld_library_path", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "GCONV_PATH"],
    ...["NODE_OPTIONS", "node_options", "NODE_PATH", "NODE_COMPILE_CACHE", "NODE_EXTRA_CA_CERTS"],
    ...["PYTHONPATH", "PYTHONSTARTUP", "PYTHONBREAKPOINT", "PERL5OPT", "RUBYOPT", "LUA_INIT_5_4"],
    ...["JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "DOTNET_STARTUP_HOOKS", "CORECLR_PROFILER_PATH"],
    ...[
      "BASH_ENV",
      "BASH_FUNC_x",
      "ENV",
      "IFS",
      "PS4",
      "GIT_SSH_COMMAND",
      "npm_config_node_options",
    ],
    ...["OPENSSL_CONF", "SSLKEYLOGFILE", "SSL_CERT_FILE", "GLIBC_TUNABLES", "HOSTALIASES"],
    ...["PATH", "HOLDFAST_INSTANCE", "holdfast_copy"],
    "A=B",
    "A\nB",
    "",
    "1A",
    "__proto__ ",
    "A\0B",
    "A-B",
    "\u0391",
    "x".repeat(129),
  ])("denies the variable %j", (name) => {
    expect(problemsOf((s) => (s.env = { [name]: "x" }))).toHaveLength(1);
  });

  it("accepts variables that choose no code", () => {
    const env = {
      NODE_ENV: "production",
      PYTHONUNBUFFERED: 1,
      http_proxy: "",
      TMPDIR: "x",
      A: "=\n",
    };
    expect(problemsOf((s) => (s.env = env))).toEqual([]);
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
    ["a check by a command and a port", (s) => (s.readiness.exec = ["sh"]), "has http and exec"],
    [
      "a check by a command as text",
      (s) => (s.readiness = { exec: { argv: "test -f ready" } }),
      "readiness.exec.argv: a command as text",
    ],
    [
      "a check by a shell of the host",
      (s) => (s.readiness = { exec: { argv: ["/bin/sh", "-c", "id"] } }),
      "readiness.exec.argv[0]: the program is not part of the release",
    ],
    [
      "a check by a shell of the release",
      (s) => (s.liveness = { exec: { argv: ["bin/bash", "-c", "id"] } }),
      "liveness.exec.argv[0]: a shell",
    ],
    [
      "a check by an option of a runtime",
      (s) => (s.readiness = { exec: { argv: ["node", "-e", "1"] } }),
      "readiness.exec.argv[1]",
    ],
    [
      "a check by a URL",
      (s) => (s.readiness = { url: "http://169.254.169.254/latest/meta-data" }),
      "readiness.url: unknown field",
    ],
    [
      "a check of another host by name",
      (s) => (s.readiness.http.host = "169.254.169.254"),
      "readiness.http.host: unknown field",
    ],
    [
      "a process for a check every moment",
      (s) => (s.readiness = { exec: { argv: ["check"] }, intervalMs: 20 }),
      "from 500 to 60000",
    ],
    [
      "a check by a process without an end",
      (s) => (s.readiness = { exec: { argv: ["check"] }, timeoutMs: 5_000 }),
      "from 20 to 4000",
    ],
    ["liveness every 0 ms", (s) => (s.liveness.intervalMs = 0), "out of range; got 0"],
    ["liveness within 0 ms", (s) => (s.liveness.timeoutMs = 0), "out of range; got 0"],
    ["no failed check allowed", (s) => (s.liveness.failures = 0), "out of range; got 0"],
    ["CPU -1", (s) => (s.limits = { cpuMillis: -1 }), "limits.cpuMillis: out of range; got -1"],
    ["CPU 1e308", (s) => (s.limits = { cpuMillis: 1e308 }), "not a whole number; got 1e+308"],
    ["CPU 0.0001", (s) => (s.limits = { cpuMillis: 0.0001 }), "not a whole number; got 0.0001"],
    ["CPU NaN", (s) => (s.limits = { cpuMillis: Number.NaN }), "not a whole number"],
    ["CPU 0", (s) => (s.limits = { cpuMillis: 0 }), "from 10 to 1024000"],
    ["memory 1Ki", (s) => (s.limits = { memoryMib: "1Ki" }), "not a whole number; got 1Ki"],
    ["memory 1Ei", (s) => (s.limits = { memoryMib: "1Ei" }), "not a whole number; got 1Ei"],
    ["memory of 1 KiB", (s) => (s.limits = { memoryMib: 1 / 1024 }), "not a whole number"],
    ["memory of 1 EiB", (s) => (s.limits = { memoryMib: 2 ** 40 }), "from 4 to 16777216"],
    ["memory 0", (s) => (s.limits = { memoryMib: 0 }), "from 4 to 16777216"],
    ["one process alone", (s) => (s.limits = { pids: 1 }), "from 2 to 4194304"],
    ["an unknown limit", (s) => (s.limits = { memory: 5 }), "limits.memory: unknown field"],
    [
      "a limit as text with an expression",
      (s) => (s.limits = { pids: "1${params.x}" }),
      "limits.pids",
    ],
    [
      "a limit below what is requested",
      (s) => Object.assign(s, { limits: { memoryMib: 64 }, requests: { memoryMib: 65 } }),
      "requests.memoryMib: more than the limit; got 65; allowed: at most 64",
    ],
    [
      "CPU below what is requested",
      (s) => Object.assign(s, { limits: { cpuMillis: 100 }, requests: { cpuMillis: 101 } }),
      "requests.cpuMillis: more than the limit",
    ],
    ["root", (s) => (s.user = "root"), "spec.user: not of this form; got root"],
    ["a user by number", (s) => (s.user = 0), "spec.user: not text"],
    ["a user by number as text", (s) => (s.user = "0"), "spec.user: not of this form"],
    ["a user with a group", (s) => (s.user = "etl:root"), "spec.user: not of this form"],
    ["a umask as a number", (s) => (s.umask = 27), "spec.umask: not text"],
    ["a umask that locks the owner out", (s) => (s.umask = "700"), "spec.umask: not of this form"],
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
