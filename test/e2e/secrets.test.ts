/**
 * A secret from the command line to the workload, on real processes: it arrives, a new value is an upgrade, a bad
 * one returns to the one before, another agent asks for it again, and only its file on the host holds it.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { prepareHub } from "./prepared-hub.ts";
import { shownVersion, startProber } from "./prober.ts";
import { until } from "./until.ts";
import { offerVault, vaultInstance, writeContext } from "./vault.ts";

const root = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "holdfast-secrets-"));
const fleet = new Fleet(layoutOf(root, join(home, ".holdfast")), {
  ...process.env,
  NO_COLOR: "1",
  XDG_CONFIG_HOME: join(home, "config"),
  // The more is said, the more could be given away.
  HOLDFAST_HUB_LOG_LEVEL: "debug",
  HOLDFAST_AGENT_LOG_LEVEL: "debug",
});

const VALUES = {
  first: "canary-one-8f2c51d0",
  second: "canary-two-77ab90e3",
  broken: "broken-canary-1d4e6f88",
  again: "canary-new-agent-c0ffee42",
} as const;
const hashOf = (value: string) => createHash("sha256").update(value).digest("hex");

type View = Readonly<{
  metadata: { id: string };
  status?: {
    conditions?: { type: string; status: string; reason: string; message: string }[];
    attempt?: { state: string; reason: string; message: string };
  };
}>;
const vault = async () =>
  JSON.parse(await fleet.cli(["get", "instance", "vault", "-o", "json"])) as View;
const set = (value: string, ...more: string[]) =>
  fleet.tryCli(["secret", "set", "vault", "token", ...more], `${value}\n`);
const waiting = ["--wait", "--timeout", "90s"];
/** A hold shows within a second; a busy machine takes its time. */
const HELD_MS_MAX = 90_000;

/** Directory of the instance on this agent's host. */
async function directoryOn(agent: string): Promise<string> {
  const { metadata } = await vault();
  return join(fleet.layout.agent(agent).state, "instances", metadata.id.replace("ins_", ""));
}
const outputsOn = async (agent: string) => join(await directoryOn(agent), "outputs.json");

beforeAll(async () => {
  await fleet.writeHubConfig(11_000 + (process.pid % 3_000) * 3);
  await prepareHub(fleet.layout);
  await fleet.startHub();
  writeContext(fleet);
  await offerVault(fleet, join(home, "product"));
  await fleet.startAgent("first", {}, () => fleet.cli(["cell", "token", "hosted"]));
});

afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const logs = join(fleet.layout.home, "logs");
  for (const file of readdirSync(logs)) {
    const lines = readFileSync(join(logs, file), "utf8").split("\n");
    console.error(`${file}:\n${lines.slice(-30).join("\n")}`);
  }
});

afterAll(async () => {
  // Fenced, or never joined: it may not halt what the other one runs now.
  await fleet.stopAgent("first");
  await fleet.haltAgent("second");
  await fleet.stopHub();
  rmSync(home, { recursive: true, force: true });
});

describe("a secret", () => {
  it("that nobody entered is a hold that names it and the command", async () => {
    await fleet.cli(["apply", "-f", "-"], vaultInstance());
    const held = await until(
      "the hold",
      async () => {
        const { status } = await vault();
        return status?.conditions?.find(({ reason }) => reason === "SECRET_MISSING");
      },
      HELD_MS_MAX,
    );
    expect(held.message).toContain("secret token was not entered");
    expect(held.message).toMatch(/holdfast secret set ins_[0-9a-f]{32} token/);
    const { state } = fleet.layout.agent("first");
    const why = await fleet.agent("why", "vault", "--state", state);
    expect(why).toMatch(/next +enter the secret with the command that is named/);
  });

  it("that is entered reaches the workload, in a file of its owner", async () => {
    const { code, stdout, stderr } = await set(VALUES.first, ...waiting);
    expect([code, stderr]).toEqual([0, expect.stringContaining("trusted from now on: sha256:")]);
    expect(stdout).toMatch(/^secret\/token version 1 sealed to hosted-1\n$/);
    expect(await shownVersion(await outputsOn("first"))).toBe(hashOf(VALUES.first));
    const [file] = filesWith(VALUES.first).filter((path) => path.includes("/run/"));
    expect(file).toMatch(/run\/[^/]+\/secrets\/token$/);
    expect(statSync(join(home, file ?? "")).mode & 0o777).toBe(0o600);
    const { state } = fleet.layout.agent("first");
    const status = await fleet.agent("status", "--state", state);
    const [, fingerprint = ""] = /identity (sha256:[0-9a-f]{64})/.exec(status) ?? [];
    expect(stderr).toContain(fingerprint || "no fingerprint");
  });

  it("whose file somebody opens to others is told as drift, accepted, and brought back", async () => {
    const policy = vaultInstance({ driftPolicy: "hold" });
    await fleet.cli(["apply", "-f", "-", ...waiting], policy);
    const [file = ""] = filesWith(VALUES.first).filter((path) => path.includes("/run/"));
    chmodSync(join(home, file), 0o644);
    const why = ["drift", "show", "vault"];
    expect(await fleet.cli(["drift", "adopt", "vault", "--wait"])).toContain("accepted as it is");
    await until("it is told as accepted", async () => {
      const { status } = await vault();
      return status?.conditions?.some(({ reason }) => reason === "ADOPTED");
    });
    const shown = await fleet.tryCli(why);
    expect([shown.code, shown.stderr]).toEqual([0, "policy: hold\n"]);
    expect(shown.stdout).toMatch(/secretFiles\.token\.mode +600 +600 +644 +accepted\n$/);
    expect(shown.stdout).not.toContain(VALUES.first);
    await fleet.cli(["drift", "revert", "vault", "--wait"]);
    expect(statSync(join(home, file)).mode & 0o777).toBe(0o600);
    await until("nothing differs any more", async () => (await fleet.tryCli(why)).stdout === "");
    const events = await fleet.cli(["events", "--subject", "instance/vault"]);
    expect(events).toMatch(/action_done[^\n]*(\n.*)*action_done/);
  });

  it("that changes is an upgrade without one failed request", async () => {
    const stop = startProber(await outputsOn("first"));
    const { code } = await set(VALUES.second, ...waiting);
    expect(code).toBe(0);
    const outputs = await outputsOn("first");
    await until("the new value is in use", async () => {
      return (await shownVersion(outputs)) === hashOf(VALUES.second);
    });
    const probe = await stop();
    expect(probe.failures).toEqual([]);
    expect(probe.versions).toEqual([hashOf(VALUES.first), hashOf(VALUES.second)]);
  });

  it("that breaks the workload returns to the one before, and is told of without its value", async () => {
    const stop = startProber(await outputsOn("first"));
    const { code, stderr } = await set(VALUES.broken, ...waiting);
    expect(code).toBe(7);
    const probe = await stop();
    expect(probe.failures).toEqual([]);
    expect(probe.versions).toEqual([hashOf(VALUES.second)]);
    const { status } = await vault();
    expect(status?.attempt?.state).toBe("ATTEMPT_STATE_RETURNED");
    // The workload has said it; what people and the hub are told of its last line has it blotted out.
    expect(status?.attempt?.message).toContain("the token is [redacted]");
    expect(stderr).toContain("the token is [redacted]");
  });

  it("is listed and described by version, agent and person, never by value", async () => {
    const listed = JSON.parse(await fleet.cli(["secret", "list", "vault", "-o", "json"]));
    expect(listed.secrets).toMatchObject([
      { name: "token", version: "3", agent: "hosted-1", source: "SECRET_SOURCE_SEALED" },
    ]);
    const described = await fleet.cli(["describe", "instance", "vault"]);
    expect(described).toMatch(/token +3 +sealed to hosted-1/);
    expect(described).toMatch(/instance\.secret_set/);
  });
});

describe("another agent in the cell", () => {
  it("asks for the secret again, and what runs goes on", async () => {
    const before = await shownVersion(await outputsOn("first"));
    const { state, token } = fleet.layout.agent("second");
    writeFileSync(token, await fleet.cli(["cell", "takeover", "hosted"]), { mode: 0o600 });
    await fleet.agent("enroll", "--takeover", "--state", state, "--token-file", token);
    await fleet.startAgent("second", {}, () => Promise.reject(new Error("it has joined")));
    const held = await until(
      "the hold",
      async () => {
        const { status } = await vault();
        return status?.conditions?.find(
          ({ reason, message }) =>
            reason === "SECRET_MISSING" && message.includes("is sealed to agt_"),
        );
      },
      HELD_MS_MAX,
    );
    expect(held.message).toMatch(
      /secret token version 3 is sealed to agt_\w+, not to this agent; holdfast secret set/,
    );
    expect(await fleet.cli(["secret", "list", "vault"])).toContain(
      "set it again: sealed to hosted-1",
    );
    expect(await shownVersion(await outputsOn("first"))).toBe(before);
  });

  it("gets it only once a person has compared fingerprints", async () => {
    const refused = await set(VALUES.again);
    expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining("AGENT_CHANGED")]);
    const { state } = fleet.layout.agent("second");
    const status = await fleet.agent("status", "--state", state);
    const [, fingerprint = ""] = /identity (sha256:[0-9a-f]{64})/.exec(status) ?? [];
    const confirmed = await set(VALUES.again, "--agent-fingerprint", fingerprint, ...waiting);
    expect([confirmed.code, confirmed.stderr]).toEqual([0, expect.any(String)]);
    // The workload stays where its first agent put it.
    expect(await shownVersion(await outputsOn("first"))).toBe(hashOf(VALUES.again));
  });
});

describe("what is left behind", () => {
  it("by all of that holds the values in no database, no log, no argument: only in the workloads' own files", () => {
    const args = execFileSync("ps", ["-eww", "-o", "args="], { encoding: "utf8" });
    for (const value of Object.values(VALUES)) {
      expect(args).not.toContain(value);
      // What the workload itself says in its log is its own.
      const elsewhere = filesWith(value).filter(
        (path) => !/instances\/[^/]+\/(run\/[^/]+\/secrets\/token|logs\/.+)$/.test(path),
      );
      expect(elsewhere).toEqual([]);
    }
    // The same look finds what is there: names and sealed bytes.
    expect(filesWith("age-encryption.org/v1").some((path) => path.includes("agent.db"))).toBe(true);
    expect(filesWith("age-encryption.org/v1").some((path) => path.includes("/hub/"))).toBe(true);
  });
});

/** Below the fleet's home: database, write-ahead log, stores, logs, everything. */
function filesWith(text: string): readonly string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => holds(path, text))
    .map((path) => relative(home, path));
}

/** A file may go while it is looked at. */
function holds(path: string, text: string): boolean {
  try {
    return readFileSync(path).includes(text);
  } catch {
    return false;
  }
}
