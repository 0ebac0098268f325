/**
 * The unit that starts the agent: what it promises to workloads stands in it, systemd understands it, and it fits the
 * agent's own bounds. What an init does with such a unit is in agent/src/reconcile/init.test.ts.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readConfig } from "../../agent/src/config.ts";

const UNIT = join(import.meta.dirname, "../../deploy/systemd/holdfast-agent.service");
const PROGRAM = "/usr/bin/holdfast-agent";
const text = readFileSync(UNIT, "utf8");
const folder = mkdtempSync(join(tmpdir(), "holdfast-unit-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Settings of one section; one that is written twice has both values. */
function section(name: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let current = "";
  for (const line of text.split("\n")) {
    current = /^\[(.+)\]$/.exec(line)?.[1] ?? current;
    const [, key, value = ""] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (current !== name || key === undefined) continue;
    const before = found.get(key);
    found.set(key, before === undefined ? value : `${before} ${value}`);
  }
  return found;
}

const service = section("Service");

describe("the unit of the agent", () => {
  it.each([
    ["KillMode", "process", "only the agent is told to end"],
    ["OOMPolicy", "continue", "a workload that the kernel ended takes nobody along"],
    ["Restart", "always", "the agent comes back whatever it ended with"],
    ["Delegate", "cpu memory pids", "workloads have limits"],
    ["DelegateSubgroup", "agent", "the place that the driver looks for"],
    ["ProtectControlGroups", "no", "limits can be written"],
    ["PrivateTmp", "no", "nothing that a workload uses goes with the agent"],
    ["MemoryDenyWriteExecute", "no", "Node compiles while it runs"],
    ["StateDirectoryMode", "0711", "accounts of workloads pass and do not list"],
    ["UMask", "0077", "no file of the agent is for others"],
    ["NoNewPrivileges", "yes", "no program gains rights"],
    ["ProtectSystem", "strict", "only the state directory can be written"],
    ["ProtectHome", "yes", "no home is seen"],
    ["TasksMax", "infinity", "workloads have limits of their own"],
  ])("says %s=%s: %s", (key, value) => {
    expect(service.get(key)).toBe(value);
  });

  it("tries for ever, and waits longer for its end than the agent takes by default", () => {
    expect(section("Unit").get("StartLimitIntervalSec")).toBe("0");
    const { values } = readConfig({
      ...{ file: { state_dir: "/var/lib/holdfast" }, fileName: "agent.yaml", fileDirectory: "/" },
      ...{ env: {}, workingDirectory: "/" },
    });
    expect(Number(service.get("TimeoutStopSec")) * 1_000).toBeGreaterThan(values.shutdownMsMax);
    expect(service.get("ExecStart")).toBe(`${PROGRAM} run --config /etc/holdfast/agent.yaml`);
    expect(service.get("StateDirectory")).toBe("holdfast");
    const cache = ["CacheDirectory", "CacheDirectoryMode"].map((name) => service.get(name));
    expect(cache).toEqual(["holdfast", "0700"]);
  });

  it("keeps what accounts, stops and looks need of root's rights, and nothing else", () => {
    const needed = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SYS_PTRACE"];
    expect(service.get("CapabilityBoundingSet")?.split(" ")).toEqual(
      needed.map((name) => `CAP_${name}`),
    );
  });

  it("is understood by systemd where that is installed", () => {
    const path = join(folder, "holdfast-agent.service");
    // The program itself need not be installed here.
    writeFileSync(path, text.replace(PROGRAM, process.execPath));
    const verify = spawnSync("systemd-analyze", ["verify", path], { encoding: "utf8" });
    if (verify.error !== undefined) {
      expect(verify.error).toMatchObject({ code: "ENOENT" });
      return;
    }
    // Before version 254 it does not know the subgroup, says so and goes on.
    const said = verify.stderr
      .split("\n")
      .filter((line) => line.includes(path) && !/Unknown key.*DelegateSubgroup/.test(line));
    expect({ status: verify.status, said }).toEqual({ status: 0, said: [] });
  });
});
