/** What the agent tells on its host: the same over the socket and from the store, hub or no hub. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import { CertificateSchema } from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { encodeJoinToken } from "@holdfast/shared/join-token.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type AgentWorld,
  agentWorld,
  CELL,
  instanceId,
  type RunningAgent,
} from "../reconcile/engine.test-world.ts";
import { VENDOR } from "../reconcile/release.test-world.ts";
import { openStore } from "../store/database.ts";
import * as facts from "../store/facts.ts";
import { STORE_FILE } from "../store/state-directory.ts";
import { readReport, shownStatus, shownWhy } from "./commands.ts";
import { enrollInto } from "./joining.ts";
import { localReport } from "./report.ts";
import { askLocalServer, startLocalServer } from "./server.ts";
import { findInstance } from "./show.ts";

const nobody = { startTimeOf: () => undefined };
const identity = {
  vendorId: VENDOR,
  cellId: CELL,
  agentId: idOf("agent", "00000000-0000-7000-8000-0000000000aa"),
  fencing: 1n,
  tlsKey: new Uint8Array([1]),
  identitySeed: new Uint8Array(32),
  certificate: create(CertificateSchema),
  linkEndpoints: ["127.0.0.1:1"],
  identityEndpoints: ["127.0.0.1:2"],
};

describe("a running agent", () => {
  let world: AgentWorld;
  let agent: RunningAgent;
  beforeEach(async () => {
    world = await agentWorld();
    agent = world.begin();
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode: "never-ready" }] }));
    await agent.until(({ attempt }) => attempt?.reason === "READY_DEADLINE");
    await agent.until(({ conditions }) => conditions.some(({ reason }) => reason === "READY"));
  });
  afterEach(async () => {
    await agent.end();
    world.dispose();
  });
  const report = () =>
    localReport(agent.store, {
      running: true,
      isReadOnly: false,
      pid: 7,
      version: "0.1.0",
      statuses: agent.engine.statuses().map(({ status }) => status),
    });

  it("says in one screen why an instance is as it is", () => {
    const why = shownWhy(report(), "etl-1", "text");
    expect(why).toContain("wanted    generation 1.2, release 2.0.0");
    expect(why).toContain("serves    generation 1.1, release 1.0.0");
    expect(why).toContain("RETURNED READY_DEADLINE");
    expect(why).toContain("UNDONE  start worker of 2.0.0");
    expect(why).toContain("Ready=True");
    expect(why).toContain("InSync=False");
    expect(why).toMatch(
      /next {6}holdfast instance output etl-1 shows what it said; then a release/,
    );
    expect(why.split("\n").length).toBeLessThan(24);
  });

  it("says when its disk is full, and when it is not any more", () => {
    const { store } = agent;
    const write = () => facts.putDamaged(store, "x".repeat(100_000));
    store.db.pragma("max_page_count = 1");
    expect(write).toThrow("full");
    expect(shownStatus(report(), "text")).toContain("STORE_FULL: the disk takes no writes");
    expect(shownWhy(report(), "etl-1", "text")).toMatch(/next .*\(STORE_FULL\): free space/);
    store.db.pragma("max_page_count = 1000000");
    write();
    expect(shownStatus(report(), "text")).not.toContain("STORE_FULL");
  });

  it("answers on a socket that only its owner can open", async () => {
    const path = join(world.stateDir, "local.sock");
    const server = await startLocalServer(path, report, {
      destroy: () => Promise.reject(new Error("not asked")),
      allowRemoval: () => Promise.reject(new Error("not asked")),
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const answer = await askLocalServer(path);
    expect(answer.instances.map(({ name }) => name)).toEqual(["etl-1"]);
    await server.close();
    expect(existsSync(path)).toBe(false);
    await expect(askLocalServer(path)).rejects.toMatchObject({ reason: "AGENT_SILENT" });
  });

  it("is told of from its store once it has ended", async () => {
    await agent.end();
    const told = await readReport(world.stateDir, nobody, "0.1.0");
    agent = world.begin();
    expect(told.running).toBe(false);
    const status = shownStatus(told, "text");
    expect(status).toContain("not running: this is what the store says");
    expect(status).toMatch(/etl-1 +2\.0\.0 +1\.0\.0 +True +False READY_DEADLINE +True/);
    expect(findInstance(told, instanceId()).name).toBe("etl-1");
    expect(() => findInstance(told, "crm")).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
    expect(JSON.parse(shownStatus(told, "json"))).toMatchObject({ running: false });
  });
});

describe("joining", () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), "holdfast-join-"));
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));
  const host = { pid: 1, uid: process.getuid?.() ?? 0, startTimeOf: () => "now" };
  const enrolled = async () => ({ identity, keySets: [], incarnation: 3n });
  const now = Date.UTC(2026, 10, 20);

  it("writes the identity once, and never uses a second token", async () => {
    expect(await enrollInto(stateDir, host, now, { obtain: enrolled })).toContain(identity.agentId);
    let used = false;
    const again = enrollInto(stateDir, host, now, {
      obtain: async () => {
        used = true;
        return await enrolled();
      },
    });
    await expect(again).rejects.toMatchObject({ reason: "ALREADY_ENROLLED" });
    expect(used).toBe(false);
    const { store } = openStore(join(stateDir, STORE_FILE), 3);
    expect(facts.findIncarnation(store)).toBe(3n);
    store.close();
  });

  it.each([
    { it: "1970", at: 0 },
    { it: "2099", at: Date.UTC(2099, 0, 1) },
  ])("by a clock that says $it is refused, and the token is not used up", async ({ at }) => {
    let used = false;
    const refused = enrollInto(stateDir, host, at, {
      obtain: async () => {
        used = true;
        return await enrolled();
      },
    });
    await expect(refused).rejects.toMatchObject({
      reason: "CLOCK_IMPLAUSIBLE",
      message: `clock implausible: ${new Date(at).toISOString()}, last signed time none`,
    });
    expect(used).toBe(false);
    expect(existsSync(join(stateDir, STORE_FILE))).toBe(false);
  });

  it("that fails leaves nothing that looks like an agent", async () => {
    const refused = new Fault("UNAUTHENTICATED", "TOKEN_USED", "used before");
    const failed = enrollInto(stateDir, host, now, { obtain: () => Promise.reject(refused) });
    await expect(failed).rejects.toBe(refused);
    expect(existsSync(join(stateDir, STORE_FILE))).toBe(false);
  });
});

/** Nobody listens at its endpoint: a call would fail with another exit code. */
const JOIN_TOKEN = encodeJoinToken({
  vendorId: "01a1fa22-abde-7a12-a02e-0d8490906853",
  id: "01a1fa22-abde-7a12-a02e-0d8490906854",
  secret: "s".repeat(43),
  identityEndpoints: ["127.0.0.1:1"],
  rootFingerprint: "0".repeat(64),
});

describe("the program", () => {
  const main = fileURLToPath(new URL("../main.ts", import.meta.url));
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "holdfast-program-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));
  const run = (...args: readonly string[]) => {
    const env = { PATH: "/nowhere" };
    const ended = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env });
    return { code: ended.status, said: ended.stdout, error: ended.stderr };
  };

  /** The same where the directory's disk takes no writes. Undefined where this machine gives nobody mounts; CI has to. */
  const runOnReadOnlyDisk = (...args: readonly string[]) => {
    const own = process.getuid?.() === 0 ? ["--mount"] : ["--mount", "--map-root-user"];
    const script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"';
    const elsewhere = (...words: readonly string[]) =>
      spawnSync("unshare", [...own, "sh", "-c", script, directory, ...words], { encoding: "utf8" });
    if (elsewhere("true").status !== 0) {
      expect(process.env["CI"]).toBeUndefined();
      return undefined;
    }
    const {
      status: code,
      stdout: said,
      stderr: error,
    } = elsewhere(process.execPath, main, ...args);
    return { code, said, error };
  };

  it("touches nothing where the disk is read-only, and says the class", () => {
    openStore(join(directory, STORE_FILE), 0).store.close();
    const before = readdirSync(directory);
    const started = runOnReadOnlyDisk("run", "--state", directory);
    if (started === undefined) return;
    expect(started.code).toBe(5);
    expect(started.error).toContain("FAILED_PRECONDITION STORE_READ_ONLY");
    expect(started.error).toContain("workloads go on, nothing can change");
    expect(started.error).toMatch(/\nnext: findmnt -T .+\n$/);
    expect(readdirSync(directory)).toEqual(before);
  });

  it("tells what is there also from a read-only disk, with and without a log beside the store", () => {
    const { store } = openStore(join(directory, STORE_FILE), 0);
    facts.putFrozen(store, Date.UTC(2026, 10, 21));
    const withLog = runOnReadOnlyDisk("status", "--state", directory);
    store.close();
    if (withLog === undefined) return;
    for (const { code, said, error } of [
      withLog,
      runOnReadOnlyDisk("status", "--state", directory) ?? withLog,
    ]) {
      expect([code, error]).toEqual([0, ""]);
      expect(said).toContain("IDENTITY_FROZEN since 2026-11-21");
      expect(said).toContain("STORE_READ_ONLY: the disk takes no writes; workloads go on");
    }
  });

  it("ends every failure with a code and the next command", () => {
    const file = join(directory, "agent.yaml");
    writeFileSync(file, "state_dri: x\nsample_window_ms: 10\n");
    const config = run("run", "--config", file);
    expect(config.code).toBe(2);
    expect(config.error).toContain("did you mean state_dir?");
    expect(config.error).toContain("sample_window_ms");
    expect(config.error).toMatch(/\nnext: .+\n$/);
    const missing = run("run", "--config", join(directory, "none.yaml"));
    expect([missing.code, missing.error]).toEqual([2, expect.stringContaining("(ENOENT)")]);
    const fresh = run("run", "--state", directory);
    expect([fresh.code, fresh.error]).toEqual([5, expect.stringContaining("NOT_ENROLLED")]);
    const unknown = run("statsu");
    expect([unknown.code, unknown.error]).toEqual([2, expect.stringContaining("statsu")]);
    expect(run("status", "--state", directory).code).toBe(3);
  });

  it.each([
    { it: "is a directory", path: "/tmp", says: "it is a directory (EISDIR)" },
    { it: "never ends", path: "/dev/zero", says: "(1 MiB)" },
    { it: "has a tab", text: "a:\n\tb: 1\n", says: ":2:1" },
    {
      it: "has too many aliases",
      text: `state_dir: &a x\ndeny: [${"*a,".repeat(51)}]\n`,
      says: "aliases are limited to 50",
    },
  ])("ends with 2 and says where when its configuration $it", ({ path, text = "", says }) => {
    const file = path ?? join(directory, "agent.yaml");
    if (path === undefined) writeFileSync(file, text);
    const { code, error } = run("run", "--config", file);
    expect([code, error]).toEqual([2, expect.stringContaining(says)]);
    expect(error).toContain(file);
    expect(error).toMatch(/\nnext: .+\n$/);
  });

  it.each([
    { it: "was cut", text: JOIN_TOKEN.slice(0, 60), says: "its checksum does not fit" },
    { it: "is of another kind", text: `hft_${"a".repeat(80)}`, says: "it starts with hft_" },
  ])("ends with 4 without a call when the token $it", ({ text, says }) => {
    const file = join(directory, "token");
    writeFileSync(file, text);
    const { code, error } = run("enroll", "--state", directory, "--token-file", file);
    expect([code, error]).toEqual([
      4,
      expect.stringContaining(`TOKEN_DAMAGED: join token damaged`),
    ]);
    expect(error).toContain(says);
    expect(error).toMatch(/\nnext: holdfast cell token CELL\n$/);
  });

  it("does not repeat a token that was given as an argument", () => {
    const { code, error } = run("enroll", "--state", directory, "--token-file", JOIN_TOKEN);
    expect([code, error]).toEqual([2, expect.stringContaining("SECRET_IN_ARGUMENT")]);
    expect(error).not.toContain(JOIN_TOKEN.slice(0, 24));
  });

  it("says after damage that the store was set aside and that workloads go on", () => {
    writeFileSync(join(directory, STORE_FILE), "garbage, and not a little of it".repeat(100));
    for (const _ of ["at once", "and at the next start"]) {
      const ended = run("run", "--state", directory);
      expect(ended.code).toBe(5);
      expect(ended.error).toContain("STORE_DAMAGED");
      expect(ended.error).toContain("workloads go on");
    }
    const status = run("status", "--state", directory);
    expect([status.code, status.said]).toEqual([0, expect.stringContaining("STORE_DAMAGED")]);
  });
});
