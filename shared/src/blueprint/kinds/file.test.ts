/** What the spec of a file may hold. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { describe, expect, it } from "vitest";
import { documentWith, type Loose, violationsOf } from "../blueprint.fixture.ts";
import { parseBlueprint } from "../draft.ts";
import { checkFileSpec, FILE_CONTENT_CHARS_MAX, readFileSpec } from "./file.ts";

const sound = (): Loose => ({ path: "etc/worker.json", content: "{}\n" });

function problemsOf(change: (spec: Loose) => void): readonly string[] {
  const spec = sound();
  change(spec);
  return checkFileSpec(spec, "spec").map(({ path, message }) => `${path}: ${message}`);
}

describe("readFileSpec", () => {
  it("fills defaults in", () => {
    expect(readFileSpec(sound(), "spec")).toEqual({
      path: "etc/worker.json",
      content: "{}\n",
      mode: 0o600,
      directoryMode: 0o755,
    });
  });

  it("reads every field, of a file of an artefact too", () => {
    const given = {
      ...{ path: "/srv/etl/a b.json", artefact: "settings", source: "eu/default.json" },
      ...{ mode: "0640", owner: "etl", directoryMode: "750" },
    };
    expect(readFileSpec(given, "spec")).toEqual({
      path: "/srv/etl/a b.json",
      source: { artefact: "settings", file: "eu/default.json" },
      mode: 0o640,
      owner: "etl",
      directoryMode: 0o750,
    });
  });

  it("makes text of what one expression gave, and takes an empty file", () => {
    expect(readFileSpec({ path: "n", content: 5 }, "spec").content).toBe("5");
    expect(readFileSpec({ path: "n", content: false }, "spec").content).toBe("false");
    expect(readFileSpec({ path: "n", content: "" }, "spec").content).toBe("");
  });

  it("throws all problems at once", () => {
    const found = violationsOf(() => readFileSpec({ mode: 640, paths: "x" }, "spec"));
    expect(found).toHaveLength(4);
  });
});

describe("checkFileSpec", () => {
  it.each<[string, string, string]>([
    ["above its folder", "../../etc/passwd", "leads out of its folder by .."],
    ["above by a detour", "a/../../b", "leads out of its folder by .."],
    ["above at its end", "a/..", "leads out"],
    ["with NUL", "a\0b", "has a NUL"],
    ["with a line break", "a\nb", "another control character"],
    ["with a backslash", "a\\..\\b", "or a \\"],
    ["of half a character", "a\ud800", "half a character"],
    ["with two slashes", "a//b", "an empty name"],
    ["with two slashes in front", "//etc/passwd", "an empty name"],
    ["that is a folder", "etc/", "an empty name"],
    ["that is the root", "/", "an empty name"],
    ["by way of .", "./a", "or ."],
    ["of 5,000 characters", "a".repeat(5_000), "5000 bytes are too long, at most 1024"],
    ["with a name of 256 bytes", "ä".repeat(128), "a name is longer than 255 bytes"],
    ["33 names deep", `${"a/".repeat(32)}b`, "33 names deep, at most 32"],
    ["in the memory of a process", "/proc/self/mem", "/proc is the kernel's"],
    ["in the kernel's switches", "/sys/kernel/uevent_helper", "/sys is the kernel's"],
    ["of a device", "/dev/sda", "/dev is the kernel's"],
    ["with a name of the agent", "etc/.holdfast-0/a", "names that begin with .holdfast-"],
    ["that is empty", "", "not of this form"],
  ])("refuses a path %s", (_, path, says) => {
    const [problem, ...more] = problemsOf((s) => (s.path = path));
    expect(more).toEqual([]);
    expect(problem).toMatch(/^spec\.path: /);
    expect(problem).toContain(says);
    expect(problem).toContain("a path of plain names");
  });

  it.each(["a", "etc/.hidden", "/srv/etl/x", "proc/self/mem", "ä/…/x y", "a".repeat(255)])(
    "takes the path %j, which means one place",
    (path) => expect(problemsOf((s) => (s.path = path))).toEqual([]),
  );

  it.each<[string, (spec: Loose) => void, string]>([
    ["setuid", (s) => (s.mode = "4755"), "spec.mode: not of this form; got 4755"],
    ["setgid", (s) => (s.mode = "2755"), "setuid, setgid and sticky never"],
    ["sticky", (s) => (s.mode = "1777"), "setuid, setgid and sticky never"],
    ["setuid with a zero before", (s) => (s.mode = "04755"), "spec.mode: not of this form"],
    ["a mode as a number", (s) => (s.mode = 640), "spec.mode: not text; got 640"],
    ["a mode in words", (s) => (s.mode = "u+s"), "spec.mode: not of this form"],
    ["a mode that no one can read", (s) => (s.mode = "200"), "the first from 4 to 7"],
    ["setgid of folders", (s) => (s.directoryMode = "2755"), "spec.directoryMode"],
    ["folders without passage", (s) => (s.directoryMode = "600"), "the first 7"],
    ["root as owner", (s) => (s.owner = "root"), "spec.owner: not of this form; got root"],
    ["an owner by number", (s) => (s.owner = 0), "spec.owner: not text"],
    ["an owner by number as text", (s) => (s.owner = "0"), "spec.owner: not of this form"],
    ["an owner with a group", (s) => (s.owner = "etl:root"), "spec.owner: not of this form"],
    ["a device", (s) => (s.type = "block"), "spec.type: unknown field"],
    ["a link", (s) => (s.linkTo = "/etc/shadow"), "spec.linkTo: unknown field"],
    ["no origin", (s) => delete s.content, "needs one origin: has neither"],
    [
      "two origins",
      (s) => Object.assign(s, { artefact: "a", source: "b" }),
      "needs one origin: has content and artefact",
    ],
    [
      "a source above its artefact",
      (s) => Object.assign(s, { content: undefined, artefact: "a", source: "../b" }),
      "spec.source: not a file of the release; got ../b",
    ],
    [
      "an absolute source",
      (s) => Object.assign(s, { content: undefined, artefact: "a", source: "/etc/shadow" }),
      "spec.source: not a file of the release",
    ],
    [
      "an artefact without a file of it",
      (s) => Object.assign(s, { content: undefined, artefact: "a" }),
      "spec.source: required with artefact",
    ],
    ["a source without artefact", (s) => (s.source = "b"), "spec.source: without artefact"],
    ["a map as content", (s) => (s.content = { a: 1 }), "spec.content: not text"],
    [
      "content without end",
      (s) => (s.content = "x".repeat(FILE_CONTENT_CHARS_MAX + 1)),
      "spec.content: 1048577 characters are too many",
    ],
  ])("refuses %s", (_, change, says) => {
    expect(problemsOf(change).join("\n")).toContain(says);
  });
});

describe("a blueprint with files", () => {
  const settings = (spec: Loose = {}): Loose => ({
    ...{ id: "settings", kind: "file" },
    spec: { path: "worker.json", content: "${params.source} ${secrets.source_dsn}", ...spec },
  });
  const problemsWith = (...resources: readonly Loose[]) =>
    violationsOf(() => parseBlueprint(documentWith((d) => d.resources.push(...resources)))).join(
      "\n",
    );

  it("takes parameters and secrets in content, and gives path and digest out", () => {
    const document = documentWith((d) => {
      d.resources.push(settings());
      d.resources[1].spec.env.SETTINGS = "${resources.settings.outputs.path}";
      d.resources[1].spec.env.SETTINGS_DIGEST = "${resources.settings.outputs.digest}";
    });
    expect(() => parseBlueprint(document)).not.toThrow();
  });

  it("refuses an expression in the path", () => {
    expect(problemsWith(settings({ path: "${params.source}" }))).toContain(
      "spec.path: got ${params.source}; this field is static: a constant of the release",
    );
  });

  it.each(["mode", "owner", "directoryMode", "artefact", "source"])(
    "refuses an expression in %s",
    (field) => {
      const source = { content: undefined, artefact: "worker", source: "a" };
      const found = problemsWith(settings({ ...source, [field]: "${params.source}" }));
      expect(found).toContain(`spec.${field}: not`);
    },
  );

  it("refuses two resources that write one file", () => {
    const other = { ...settings(), id: "others" };
    expect(problemsWith(settings(), other)).toContain(
      "resources[3].spec.path: got worker.json, which settings has already",
    );
  });

  it("refuses an artefact that nobody declares", () => {
    const source = { content: undefined, artefact: "nothing", source: "a" };
    expect(problemsWith(settings(source))).toContain("got nothing; allowed: worker");
  });
});
