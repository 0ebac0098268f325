/** What the spec of a job may hold. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { documentWith, type Loose, violationsOf } from "../blueprint.fixture.ts";
import { parseBlueprint } from "../draft.ts";
import { checkJobSpec, JOB_KIND, outputProblems, readJobSpec } from "./job.ts";
import { driversFor } from "./kinds.ts";

const sound = (): Loose => ({
  artefact: "worker",
  argv: ["node", "migrate.mjs", "up"],
  env: { A: 1 },
  secretFiles: { dsn: "${secrets.source_dsn}" },
  undo: { argv: ["node", "migrate.mjs", "down"] },
});
const nightly = (): Loose => ({
  artefact: "worker",
  argv: ["backup"],
  effect: "none",
  when: { schedule: { cron: "30 2 * * *", timeZone: "Europe/Berlin" } },
});

const boxed = (): Loose => ({
  image: { artefact: "worker" },
  argv: ["/bin/migrate", "up"],
  volumes: { rows: { path: "/data" } },
  undo: { argv: ["/bin/migrate", "down"] },
});

function problemsOf(change: (spec: Loose) => void, from = sound): readonly string[] {
  const spec = from();
  change(spec);
  return checkJobSpec(spec, "spec").map(({ path, message }) => `${path}: ${message}`);
}

describe("readJobSpec", () => {
  it("fills defaults in", () => {
    expect(readJobSpec(sound(), "spec")).toEqual({
      runsAs: "process",
      artefact: "worker",
      argv: ["node", "migrate.mjs", "up"],
      env: { A: "1" },
      secretFiles: { dsn: "source_dsn" },
      limits: {},
      requests: {},
      umask: 0o077,
      stop: { signal: "SIGTERM", graceMs: 10_000, drainMs: 0 },
      deadlineMs: 600_000,
      retries: 0,
      backoff: { baseMs: 1_000, capMs: 60_000 },
      effect: "undone",
      undo: { argv: ["node", "migrate.mjs", "down"], deadlineMs: 600_000 },
      when: { kind: "change" },
      outputs: {},
    });
    expect(readJobSpec(nightly(), "spec").when).toEqual({
      kind: "schedule",
      cron: "30 2 * * *",
      timeZone: "Europe/Berlin",
      missed: "once",
      concurrency: "forbid",
    });
  });

  it("lets a customer choose the hour, and judges it once it is known", () => {
    const spec = nightly();
    spec.when.schedule = { cron: "${params.backup}", timeZone: "${params.zone}" };
    expect(checkJobSpec(spec, "spec")).toEqual([]);
    expect(JOB_KIND.isStatic(spec, ["when", "schedule", "cron"])).toBe(false);
    spec.when.schedule = { cron: "at night", timeZone: "Nowhere" };
    expect(checkJobSpec(spec, "spec")).toHaveLength(1);
  });

  it("keeps what chooses the program static, also that of the undo", () => {
    const isStatic = (...at: (string | number)[]) => JOB_KIND.isStatic(sound(), at);
    expect([isStatic("argv", 1), isStatic("undo", "argv", 0), isStatic("undo", "argv", 1)]).toEqual(
      [true, true, true],
    );
    expect([isStatic("argv", 2), isStatic("undo", "argv", 2), isStatic("env", "A")]).toEqual([
      false,
      false,
      false,
    ]);
    expect([isStatic("deadlineMs"), isStatic("when", "hook"), isStatic("effect")]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe("checkJobSpec", () => {
  it.each<[string, (spec: Loose) => void, string]>([
    ["no word on its undo", (s) => delete s.undo, "effect: says not what an undo means"],
    ["two words on its undo", (s) => (s.irreversible = true), "has undo and irreversible"],
    ["irreversible: false", (s) => (s.irreversible = false), "irreversible: not true; got false"],
    ["an undo as text", (s) => (s.undo = { argv: "down" }), "undo.argv: a command as text"],
    ["an undo by a shell", (s) => (s.undo.argv = ["/bin/sh"]), "undo.argv[0]: the program is not"],
    ["a command as text", (s) => (s.argv = "up; down"), "spec.argv: a command as text"],
    ["a program elsewhere", (s) => (s.argv = ["../up"]), "spec.argv[0]: the program is not"],
    ["a loader's variable", (s) => (s.env.LD_PRELOAD = "x"), "spec.env.LD_PRELOAD"],
    ["CPU -1", (s) => (s.limits = { cpuMillis: -1 }), "limits.cpuMillis: out of range; got -1"],
    ["memory 1Ki", (s) => (s.limits = { memoryMib: "1Ki" }), "not a whole number; got 1Ki"],
    ["a deadline of 0", (s) => (s.deadlineMs = 0), "deadlineMs: out of range; got 0"],
    ["a deadline of two days", (s) => (s.deadlineMs = 172_800_000), "from 100 to 86400000"],
    ["an undo without an end", (s) => (s.undo.deadlineMs = 1e308), "undo.deadlineMs: not a whole"],
    ["21 retries", (s) => (s.retries = 21), "from 0 to 20"],
    ["a back-off of 0", (s) => (s.backoff = { baseMs: 0 }), "backoff.baseMs: out of range; got 0"],
    ["an inverted back-off", (s) => (s.backoff = { baseMs: 99, capMs: 9 }), "out of range"],
    ["a drain", (s) => (s.stop = { drainMs: 5 }), "stop.drainMs: a job has nothing to drain"],
    ["a port", (s) => (s.ports = { http: {} }), "spec.ports: unknown field"],
    ["a probe", (s) => (s.readiness = { tcp: { port: "x" } }), "spec.readiness: unknown field"],
    ["an unknown hook", (s) => (s.when = { hook: "during" }), "when.hook: unknown word"],
    ["no hook and no schedule", (s) => (s.when = {}), "needs one of hook and schedule"],
    ["an undo after the commit", (s) => (s.when = { hook: "after" }), "is never undone"],
    ["an output of no type", (s) => (s.outputs = { a: "text" }), "outputs.a: unknown word"],
    ["an output of no name", (s) => (s.outputs = { "a b": "string" }), "not a name"],
    [
      "outputs after the commit",
      (s) => {
        delete s.undo;
        Object.assign(s, { effect: "none", when: { hook: "after" }, outputs: { a: "string" } });
      },
      "nobody can use them",
    ],
  ])("refuses %s", (_, change, says) => {
    expect(problemsOf(change).join("\n")).toContain(says);
  });

  it.each<[string, (schedule: Loose) => void, string]>([
    ["no times", (s) => delete s.cron, "when.schedule.cron: required"],
    ["times as a list", (s) => (s.cron = [1]), "when.schedule.cron: not text"],
    ["times of six fields", (s) => (s.cron = "* * * * * *"), "not five fields of cron"],
    ["a time that never comes", (s) => (s.cron = "0 0 31 2 *"), "a time never comes"],
    ["a zone that is none", (s) => (s.timeZone = "Berlin"), "not a time zone; got Berlin"],
    ["an unknown rule for what was missed", (s) => (s.missed = "all"), "allowed: once, skip"],
    ["two runs at once", (s) => (s.concurrency = "allow"), "allowed: forbid, replace"],
  ])("refuses a schedule with %s", (_, change, says) => {
    const found = problemsOf((spec) => change(spec.when.schedule), nightly);
    expect(found.join("\n")).toContain(says);
  });
});

describe("a job in a container", () => {
  it("takes the words of containers, and runs what its image says where nothing is said", () => {
    expect(readJobSpec({ image: boxed().image, effect: "none" }, "spec")).toEqual({
      runsAs: "container",
      image: { artefact: "worker" },
      ...{ env: {}, secretFiles: {}, volumes: {}, mounts: [], tmpfs: [] },
      ...{ limits: {}, requests: {}, readOnlyRoot: true, user: { uid: 65_532, gid: 65_532 } },
      stop: { signal: "SIGTERM", graceMs: 10_000, drainMs: 0 },
      ...{ deadlineMs: 600_000, retries: 0, backoff: { baseMs: 1_000, capMs: 60_000 } },
      ...{ effect: "none", when: { kind: "change" }, outputs: {} },
    });
  });

  it("needs the driver of containers, and an archive that is one file", () => {
    expect(driversFor({ kind: "job", spec: boxed() })).toEqual(["job", "container"]);
    expect(driversFor({ kind: "job", spec: sound() })).toEqual(["job"]);
    expect(JOB_KIND.artefactsOf(boxed())).toEqual(["worker"]);
    expect(JOB_KIND.artefactForm?.(boxed())).toEqual({ field: "image.artefact", is: "file" });
    expect(JOB_KIND.artefactForm?.(sound())).toEqual({ field: "artefact", is: "directory" });
  });

  it("keeps what chooses code or reach static", () => {
    const isStatic = (...at: (string | number)[]) => JOB_KIND.isStatic(boxed(), at);
    const closed = [
      ...[isStatic("image", "reference"), isStatic("argv", 0), isStatic("undo", "argv", 0)],
      ...[isStatic("mounts", 0, "source"), isStatic("user"), isStatic("volumes", "rows", "path")],
    ];
    expect(closed).not.toContain(false);
    const open = [
      ...[isStatic("argv", 1), isStatic("undo", "argv", 1), isStatic("env", "A")],
      ...[isStatic("image", "credentials"), isStatic("limits", "memoryMib")],
    ];
    expect(open).not.toContain(true);
  });

  it.each<[string, (spec: Loose) => void, string]>([
    ["two programs", (s) => (s.artefact = "worker"), "spec.artefact: two programs"],
    ["an image by tag", (s) => (s.image = { reference: "r.example.com/a:1" }), "digest required"],
    ["a wider profile", (s) => (s.privileged = true), "spec.privileged: not allowed"],
    ["the user root", (s) => (s.user = "0"), "root is not in the restricted profile"],
    ["a relative program", (s) => (s.argv = ["migrate"]), "not a program of the image"],
    ["an undo by a relative program", (s) => (s.undo.argv = ["down"]), "spec.undo.argv[0]"],
    ["a host path", (s) => (s.mounts = [{ source: "/etc", path: "/in" }]), "host path not allowed"],
    [
      "a volume over its outputs",
      (s) => (s.volumes.rows.path = "/run/holdfast-outputs"),
      "is not for mounts",
    ],
    ["CPU -1", (s) => (s.limits = { cpuMillis: -1 }), "limits.cpuMillis: out of range; got -1"],
    ["memory of 4 MiB", (s) => (s.limits = { memoryMib: 4 }), "limits.memoryMib: out of range"],
    ["a loader's variable", (s) => (s.env = { LD_PRELOAD: "x" }), "spec.env.LD_PRELOAD"],
    ["a umask", (s) => (s.umask = "027"), "spec.umask: unknown field"],
    ["a port", (s) => (s.ports = { http: { container: 80 } }), "spec.ports: unknown field"],
    ["a restart policy", (s) => (s.restart = {}), "spec.restart: unknown field"],
  ])("refuses %s in a container", (_, change, says) => {
    expect(problemsOf(change, boxed).join("\n")).toContain(says);
  });
});

describe("the outputs of a job", () => {
  it("are what was declared and nothing else", () => {
    const declared = readJobSpec(
      { ...sound(), outputs: { version: "integer", at: "string" } },
      "spec",
    );
    expect(outputProblems(declared.outputs, { version: 7, at: "now" })).toEqual([]);
    expect(outputProblems(declared.outputs, { version: "7", more: 1 })).toEqual([
      "at is missing",
      "version is not of type integer",
      "more was not declared",
    ]);
  });

  it("can be named by others", () => {
    const spec = { ...sound(), outputs: { version: "integer" } };
    expect([...JOB_KIND.outputsOf(spec)]).toEqual([["version", "integer"]]);
  });
});

describe("a job before anything else", () => {
  const backup = { id: "backup", kind: "job", spec: { ...sound(), when: { hook: "before" } } };

  it("is what every other resource depends on", () => {
    const { resources } = parseBlueprint(documentWith((d) => d.resources.push(backup))).blueprint;
    expect(resources[0]?.id).toBe("backup");
    expect(resources.slice(1).every(({ dependsOn }) => dependsOn.includes("backup"))).toBe(true);
  });

  it("cannot wait for one of them", () => {
    const late = { ...backup, dependsOn: ["worker"] };
    const refused = violationsOf(() => parseBlueprint(documentWith((d) => d.resources.push(late))));
    expect(refused.join("\n")).toContain("cycle");
  });
});
