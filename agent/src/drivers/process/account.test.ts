/** Whose rights a process gets: the agent's own, or those of an account that the customer named, and never root's. */
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accountOf } from "../host-process/account.ts";
import { ask, createWorld, INSTANCE, type World } from "./process.test-world.ts";

const ACCOUNTS = [
  "root:x:0:0:root:/root:/bin/sh",
  "toor:x:0:0::/:/bin/sh",
  "grouped:x:7001:0::/:/bin/sh",
  "etl:x:65533:65532::/nonexistent:/usr/sbin/nologin",
  "broken:x::",
].join("\n");

let folder: string;
let accountsFile: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-accounts-"));
  accountsFile = join(folder, "passwd");
  writeFileSync(accountsFile, ACCOUNTS);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const host = (users: readonly string[], uid = 0) => ({ users, uid, accountsFile });

describe("the account of a process", () => {
  it("is the agent's own where the release says nothing, root or not", () => {
    expect(accountOf(host([], 0), undefined)).toBeUndefined();
    expect(accountOf(host([], 1000), undefined)).toBeUndefined();
  });

  it("is another one where the customer named it and the agent is root", () => {
    expect(accountOf(host(["etl"]), "etl")).toEqual({ uid: 65533, gid: 65532 });
  });

  it.each([
    { what: "that nobody allowed", users: ["other"], user: "etl", reason: "USER_NOT_ALLOWED" },
    {
      what: "for an agent that is not root",
      users: ["etl"],
      user: "etl",
      uid: 1000,
      reason: "USER_NOT_ALLOWED",
    },
    { what: "that is not there", users: ["gone"], user: "gone", reason: "USER_UNKNOWN" },
    { what: "that cannot be read", users: ["broken"], user: "broken", reason: "USER_UNKNOWN" },
    { what: "named root", users: ["root"], user: "root", reason: "USER_IS_ROOT" },
    { what: "that is root by another name", users: ["toor"], user: "toor", reason: "USER_IS_ROOT" },
    { what: "in root's group", users: ["grouped"], user: "grouped", reason: "USER_IS_ROOT" },
  ])("is refused: one $what", ({ users, user, reason, uid = 0 }) => {
    expect(() => accountOf(host(users, uid), user)).toThrow(expect.objectContaining({ reason }));
  });
});

describe("a process of another account", () => {
  let world: World;
  afterEach(() => world.end());

  it("has its rights alone, and its own folder, data and secrets", async () => {
    world = createWorld(systemClock, undefined, host(["etl"], process.getuid?.() ?? 0));
    const secrets = new Map([["dsn", "hunter22"]]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the syntax of expressions
    const more = { user: "etl", umask: "027", secretFiles: { dsn: "${secrets.dsn}" } };
    const wanted = world.wanted({ secrets, with: more });
    if (process.getuid?.() !== 0) {
      await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
        reason: "USER_NOT_ALLOWED",
      });
      return;
    }
    // As in an installed agent, whose state directory nobody else may enter.
    chownSync(world.artefact, 0, 0);
    await world.driver().prepare(wanted, world.context);
    const live = await world.running(wanted);
    const { pid, cwd, env, umask } = await ask(live);
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\s+65533\s+65533\s+65533\s+65533$/m);
    expect(status).toMatch(/^Gid:\s+65532\s+65532\s+65532\s+65532$/m);
    expect(status).toMatch(/^Groups:\s*$/m);
    const { run, data } = world.context.directories(INSTANCE);
    expect({ cwd, umask }).toEqual({ cwd: join(run, live.handle, "work"), umask: 0o027 });
    const owners = [cwd, data, env["HOLDFAST_SECRET_DSN_FILE"] ?? ""].map(
      (path) => statSync(path).uid,
    );
    expect(owners).toEqual([65533, 65533, 65533]);
    const record = statSync(join(run, live.handle, "record.json"));
    expect({ uid: record.uid, mode: record.mode & 0o777 }).toEqual({ uid: 0, mode: 0o600 });
    expect(statSync(join(run, live.handle)).mode & 0o022).toBe(0);
    expect(statSync(world.stateDir).mode & 0o777).toBe(0o711);
  });
});
