/** The agent as it ships: runs by itself, and for the other platform carries that one's addon. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bundleAgent, PLATFORMS } from "./bundle.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-agent-bundle-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** From elsewhere, with nothing of the caller's environment but where this Node is. */
function run(program: string, word: string, env = {}): string {
  const PATH = `${dirname(process.execPath)}:/usr/bin:/bin`;
  return execFileSync(program, [word], { cwd: "/", encoding: "utf8", env: { PATH, ...env } });
}

describe("the agent's bundle", () => {
  it("is one file and one addon, and runs outside of the checkout", async () => {
    const program = await bundleAgent(folder);
    expect(readdirSync(join(folder, "bin")).toSorted()).toEqual([
      "agent.mjs",
      "holdfast-agent",
      `${process.platform}-${process.arch}.node`,
      "start.sh",
    ]);
    for (const word of ["--version", "version"]) {
      expect(run(program, word)).toMatch(/^holdfast-agent \d+\.\d+\.\d+\n$/);
    }
  });

  it("starts through a link, leanly, and on the Node beside it", async () => {
    const program = await bundleAgent(folder);
    const link = join(folder, "linked");
    symlinkSync(program, link);
    const node = join(folder, "bin/node");
    writeFileSync(node, `#!/bin/sh\necho "$MALLOC_ARENA_MAX $NODE_COMPILE_CACHE $*"\n`);
    chmodSync(node, 0o755);
    const lean = "--max-semi-space-size=1 --no-turbofan --no-maglev --v8-pool-size=1 --expose-gc";
    const entry = join(folder, "bin/agent.mjs");
    expect(run(link, "status")).toBe(`1  ${lean} ${entry} status\n`);
    const cached = run(link, "status", { CACHE_DIRECTORY: "/var/cache/holdfast" });
    expect(cached).toBe(`1 /var/cache/holdfast/compiled ${lean} ${entry} status\n`);
  });

  it("asks a container engine, where its configuration names one", async () => {
    const program = await bundleAgent(folder);
    const socket = join(folder, "docker.sock");
    const env = {
      HOLDFAST_AGENT_STATE_DIR: join(folder, "state"),
      HOLDFAST_AGENT_CONTAINER_SOCKET: socket,
    };
    mkdirSync(env.HOLDFAST_AGENT_STATE_DIR, { mode: 0o700 });
    expect(() => run(program, "halt", env)).toThrow(
      `the container engine at ${socket} does not answer`,
    );
  });

  it("can be made for the other platforms", async () => {
    for (const platform of PLATFORMS) {
      const place = join(folder, platform);
      await bundleAgent(place, platform);
      expect(readdirSync(join(place, "bin"))).toContain(`${platform}.node`);
    }
  });

  it("is refused for a platform that the agent does not run on", async () => {
    await expect(bundleAgent(folder, "win32-x64")).rejects.toThrow(
      "platform: got win32-x64; allowed: linux-x64, linux-arm64",
    );
  });
});
