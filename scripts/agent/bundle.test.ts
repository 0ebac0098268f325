/** The agent as it ships: runs by itself, and for the other platform carries that one's addon. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bundleAgent, PLATFORMS } from "./bundle.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-agent-bundle-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the agent's bundle", () => {
  it("is one file and one addon, and runs outside of the checkout", async () => {
    const entry = await bundleAgent(folder);
    expect(readdirSync(join(folder, "bin")).toSorted()).toEqual([
      "agent.mjs",
      `${process.platform}-${process.arch}.node`,
    ]);
    const said = execFileSync(process.execPath, [entry, "version"], {
      cwd: "/",
      encoding: "utf8",
      env: {},
    });
    expect(said).toMatch(/^holdfast-agent \d+\.\d+\.\d+\n$/);
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
