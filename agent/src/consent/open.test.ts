/** The built-in rules allow what stays inside the instance, and veto what reaches out of it (rows 44 and 45). */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../drivers/driver.ts";
import { openPolicy } from "./open.ts";

const judged = (spec: JsonObject, deny: readonly string[] = []) =>
  openPolicy(deny).judge({
    instanceId: `ins_${"0".repeat(32)}`,
    product: "etl",
    stepsDigest: "",
    steps: [],
    resources: [{ id: "worker", kind: "process", spec }],
  });
const argv = ["node", "main.mjs"];

describe("the open policy", () => {
  it.each<JsonObject>([
    { argv },
    { argv: ["bin/worker", "--rows", 500, "; rm -rf /", "$(id)", "`id`", "&&"] },
    { argv, env: { BATCH_ROWS: 500, _mode: "; id" } },
    { argv, cwd: "work" },
  ])("allows %j", (spec) => {
    expect(judged(spec)).toEqual({ verdict: "allowed", rule: "open" });
  });

  it.each<[JsonObject, string]>([
    [{ argv, env: { "A=B": "x" } }, "env-deny"],
    [{ argv, env: { "A\nB": "x" } }, "env-deny"],
    [{ argv, env: { "": "x" } }, "env-deny"],
    [{ argv, env: { LD_PRELOAD: "/tmp/x.so" } }, "env-deny"],
    [{ argv, env: { ld_preload: "/tmp/x.so" } }, "env-deny"],
    [{ argv, env: { NODE_OPTIONS: "--require=/tmp/x" } }, "env-deny"],
    [{ argv, env: { PYTHONSTARTUP: "/tmp/x.py" } }, "env-deny"],
    [{ argv, env: { GIT_SSH_COMMAND: "id" } }, "env-deny"],
    [{ argv, env: { PATH: "/tmp" } }, "env-deny"],
    [{ argv, env: { HOLDFAST_INSTANCE: "x" } }, "env-deny"],
    [{ argv, env: { A: "x\0y" } }, "env-value"],
    [{ argv, env: "LD_PRELOAD=/tmp/x.so" }, "env-form"],
    [{ argv: "node main.mjs; rm -rf /" }, "argv-form"],
    [{ argv: "a && b" }, "argv-form"],
    [{ argv: "echo `id`" }, "argv-form"],
    [{ argv: [] }, "argv-form"],
    [{ argv: ["node", "main.mjs", ["nested"]] }, "argv-form"],
    [{ argv, command: "id" }, "argv-form"],
    [{ argv: ["/bin/sh", "-c", "id"] }, "argv-outside"],
    [{ argv: ["../other/worker"] }, "argv-outside"],
    [{ argv: ["node", "/etc/x.mjs"] }, "argv-outside"],
    [{ argv: ["node", "-e", "process.exit()"] }, "argv-outside"],
    [{ argv: ["node"] }, "argv-outside"],
    [{ argv, cwd: "/etc" }, "directory-outside"],
    [{ argv, workingDirectory: "../.." }, "directory-outside"],
  ])("vetoes %j by %s", (spec, rule) => {
    expect(judged(spec)).toMatchObject({ verdict: "vetoed", rule });
  });

  it("allows another account only where the customer names it", () => {
    const request = {
      ...{ instanceId: `ins_${"0".repeat(32)}`, product: "etl", stepsDigest: "", steps: [] },
      resources: [{ id: "worker", kind: "process", spec: { argv, user: "etl" } }],
    };
    expect(openPolicy([]).judge(request)).toEqual({
      ...{ verdict: "vetoed", rule: "user-denied" },
      message: "worker.user: got etl; process_users allows: none but the agent's own",
    });
    expect(openPolicy([], ["web"]).judge(request)).toMatchObject({ verdict: "vetoed" });
    expect(openPolicy([], ["web", "etl"]).judge(request)).toMatchObject({ verdict: "allowed" });
  });

  it("lets a file be where the customer names a folder", () => {
    const judgedFile = (path: string, roots: readonly string[] = []) =>
      openPolicy([], [], roots).judge({
        ...{ instanceId: `ins_${"0".repeat(32)}`, product: "etl", stepsDigest: "", steps: [] },
        resources: [{ id: "settings", kind: "file", spec: { path, content: "x" } }],
      });
    expect(judgedFile("etc/app.json")).toMatchObject({ verdict: "allowed" });
    expect(judgedFile("/etc/etl/app.json")).toEqual({
      ...{ verdict: "vetoed", rule: "path-denied" },
      message:
        "settings.path: got /etc/etl/app.json; file_roots allows: nothing but the instance's own",
    });
    expect(judgedFile("/etc/etl/app.json", ["/srv", "/etc/etl"])).toMatchObject({
      verdict: "allowed",
    });
    for (const path of ["/etc/etl2/x", "/etc/etl", "/etc/passwd"]) {
      expect(judgedFile(path, ["/etc/etl"])).toMatchObject({ rule: "path-denied" });
    }
    for (const path of ["../x", "/etc/etl/../shadow", "/proc/self/mem", "a\0b"]) {
      expect(judgedFile(path, ["/etc/etl"])).toMatchObject({ rule: "path-form" });
    }
  });

  it("allows an owner of a file only where the customer names the account", () => {
    const request = {
      ...{ instanceId: `ins_${"0".repeat(32)}`, product: "etl", stepsDigest: "", steps: [] },
      resources: [{ id: "settings", kind: "file", spec: { path: "x", content: "", owner: "etl" } }],
    };
    expect(openPolicy([]).judge(request)).toMatchObject({
      message: "settings.owner: got etl; process_users allows: none but the agent's own",
    });
    expect(openPolicy([], ["etl"]).judge(request)).toMatchObject({ verdict: "allowed" });
  });

  it("obeys the customer's own list", () => {
    expect(judged({ argv, env: { AWS_PROFILE: "x" } }, ["env:AWS_*"])).toMatchObject({
      verdict: "vetoed",
      rule: "deny env:AWS_*",
    });
    expect(judged({ argv }, ["kind:process"])).toMatchObject({ verdict: "vetoed" });
    expect(judged({ argv }, ["product:e*"])).toMatchObject({ verdict: "vetoed" });
    expect(judged({ argv }, ["kind:helm", "product:crm", "env:X"])).toMatchObject({
      verdict: "allowed",
    });
  });

  it.each([
    "/",
    "/etc",
    "//etc",
    "/var/run/docker.sock",
    "/proc",
    "/sys",
    "/srv/../etc",
    "/srv/other",
  ])("vetoes the mount of %s", (source) => {
    const spec = { mounts: [{ source, path: "/in" }] };
    expect(judgedContainer(spec)).toMatchObject({ verdict: "vetoed", rule: "mount-denied" });
    expect(judgedContainer(spec)).toMatchObject({
      message: expect.stringContaining("web.mounts[0].source: host path not allowed"),
    });
  });

  it("allows mounts and registries that the customer names, and numbers as users", () => {
    const image = { reference: `registry.example.com/etl/web@sha256:${"a".repeat(64)}` };
    const mounts = [{ source: "/srv/etl/in", path: "/in" }];
    const argv = ["/bin/web"];
    expect(judgedContainer({ image, mounts, argv, user: "1000:1000" })).toMatchObject({
      verdict: "allowed",
    });
    const other = { reference: `registry.example.com/etlx/web@sha256:${"a".repeat(64)}` };
    expect(judgedContainer({ image: other })).toMatchObject({ rule: "registry-denied" });
  });

  it("looks at jobs in containers as at containers", () => {
    const image = { artefact: "tools" };
    const other = { reference: `registry.example.com/other@sha256:${"a".repeat(64)}` };
    const mounts = [{ source: "/srv/other", path: "/in" }];
    const program = { image, argv: ["/bin/migrate"], user: "1000:1000" };
    expect(judgedContainer(program, "job")).toMatchObject({ verdict: "allowed" });
    expect(judgedContainer({ image, mounts }, "job")).toMatchObject({ rule: "mount-denied" });
    expect(judgedContainer({ image: other }, "job")).toMatchObject({ rule: "registry-denied" });
    const denied = judgedContainer(program, "job", ["kind:container"]);
    expect(denied).toMatchObject({ verdict: "vetoed", rule: "deny kind:container" });
  });

  it("looks at the variables of containers, too", () => {
    expect(judgedContainer({ env: { LD_PRELOAD: "/x.so" } })).toMatchObject({ rule: "env-deny" });
  });
});

function judgedContainer(spec: JsonObject, kind = "container", deny: readonly string[] = []) {
  const reach = { mounts: ["/srv/etl"], registries: ["registry.example.com/etl"] };
  return openPolicy(deny, [], [], reach).judge({
    ...{ instanceId: `ins_${"0".repeat(32)}`, product: "etl", stepsDigest: "", steps: [] },
    resources: [{ id: "web", kind, spec }],
  });
}
