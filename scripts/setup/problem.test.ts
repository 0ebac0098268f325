/** Each failure of the set-up is one sentence that names the thing and the way out. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { explainFailure, platformProblem } from "./problem.mjs";
import { checkSpace } from "./space.mjs";

const glibc = "2.36";

describe("platformProblem", () => {
  it.each(["x64", "arm64"])("has nothing against Linux on %s", (arch) => {
    expect(platformProblem({ platform: "linux", arch, glibc })).toBeUndefined();
  });

  it.each([
    ["darwin", "arm64"],
    ["win32", "x64"],
    ["linux", "riscv64"],
  ])("refuses %s on %s and names both", (platform, arch) => {
    const sentence = platformProblem({ platform, arch, glibc });
    expect(sentence).toContain(`${platform} on ${arch}`);
    expect(sentence).toContain("Linux on x64 or arm64");
  });

  it("refuses a Linux without the GNU C library", () => {
    const sentence = platformProblem({ platform: "linux", arch: "x64", glibc: undefined });
    expect(sentence).toContain("GNU C library");
  });
});

describe("explainFailure", () => {
  const failed = { program: "npm", what: "Node", directory: "/x", exit: "exit code 1" };

  it.each([
    ["npm error code ENOTFOUND", "cannot reach the npm registry for Node (ENOTFOUND)"],
    ["npm error code EAI_AGAIN", "cannot reach the npm registry for Node (EAI_AGAIN)"],
    ["npm error nospc ENOSPC: no space left on device, write", "no space left for Node in /x"],
    ["npm error code EINTEGRITY", "not what the lock file pins"],
    ["EACCES: permission denied, mkdir '/x'", "may not write Node in /x"],
    ["ERR_PNPM_OUTDATED_LOCKFILE", "pnpm-lock.yaml does not match"],
    ["something else", "npm could not install Node in /x (exit code 1)"],
  ])("answers %j with one sentence", (output, sentence) => {
    const explained = explainFailure({ ...failed, output });
    expect(explained).toContain(sentence);
    expect(explained).not.toContain("\n");
  });
});

describe("checkSpace", () => {
  it("refuses to begin where less is free than is needed, and else says nothing", () => {
    const needs = (bytes: number) => () => checkSpace(import.meta.dirname, bytes, "Node");
    expect(needs(1)).not.toThrow();
    expect(needs(1e18)).toThrow("There is no space left for Node in");
  });
});

describe("node-version.cjs", () => {
  const check = (version: string) =>
    spawnSync(process.execPath, [join(import.meta.dirname, "../node-version.cjs"), version], {
      encoding: "utf8",
    });

  it.each(["0.12.18", "10.24.1", "17.9.1"])("refuses Node %s in one sentence", (version) => {
    const { status, stderr } = check(version);
    expect(status).toBe(1);
    expect(stderr).toBe(
      `error: Holdfast's set-up needs Node 18 or newer and this is Node ${version}; install a newer one, any release from 18 will do.\n`,
    );
  });

  it.each(["18.0.0", "20.20.2", "26.1.0"])("lets Node %s pass in silence", (version) => {
    expect(check(version)).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });
});
