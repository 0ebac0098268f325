/**
 * What is left of a deleted instance, in a fleet that runs: taken back with its data, deleted again, and its data
 * destroyed with a key that the hub does not have.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { until } from "./until.ts";

const root = join(import.meta.dirname, "../..");

type Subject = Readonly<{ id: string; directory: string; isRunning: boolean }>;

/** Of instance etl of initech, which was deleted just before. */
export function deletionFacts(fleet: Fleet, home: string, pro: () => Subject): void {
  const ETL = ["etl", "--tenant", "initech"] as const;
  const keptNames = async () => {
    const listed = ["kept-data", "list", "--instance", "etl", "--tenant", "initech", "-o", "json"];
    const { keptData } = JSON.parse(await fleet.cli(listed)) as { keptData: { name: string }[] };
    return keptData.map(({ name }) => name);
  };
  const onHost = (...args: readonly string[]) =>
    execFileSync(
      process.execPath,
      [join(root, "agent/src/main.ts"), ...args, "--state", fleet.layout.agent("byoa").state],
      { encoding: "utf8" },
    );

  it("of an instance can be taken back, with its data", async () => {
    await until("the hub is told what is kept", async () => (await keptNames()).includes("data"));
    const database = join(pro().directory, "data", "warehouse.db");
    const before = statSync(database).ino;
    await fleet.cli(["instance", "undelete", ...ETL, "--wait", "--timeout", "60s"]);
    const shown = await fleet.cli(["get", "instance", ...ETL, "-o", "json"]);
    expect(JSON.parse(shown).metadata.id).toBe(pro().id);
    expect(pro().isRunning).toBe(true);
    expect(statSync(database).ino).toBe(before);
    await until("nothing of it is kept any more", async () => (await keptNames()).length === 0);
    await fleet.cli(["delete", "instance", ...ETL, "--yes", "--wait"]);
    await until("the hub is told what is kept", async () => (await keptNames()).includes("data"));
    expect(onHost("kept")).toMatch(/^etl +\S+ +data /m);
  });

  it("of its data needs a key that the hub does not have", async () => {
    const key = join(home, "destroy.pem");
    const [wrong, right] = [join(home, "wrong.json"), join(home, "right.json")];
    await fleet.cli(["key", "create", "--out", key]);
    const set = ["key", "set", "--purpose", "destroy", "--key", key];
    expect((await fleet.tryCli([...set, "--sign-with", key])).code).not.toBe(0);
    await fleet.cli([...set, "--sign-with", fleet.layout.releaseKey]);
    const sign = ["destroy-order", "sign", ...ETL, "--yes"];
    await fleet.cli([...sign, "--key", fleet.layout.releaseKey, "--out", wrong]);
    const refused = await fleet.tryCli(["destroy-order", "submit", wrong, "--wait"]);
    expect(refused.stderr).toContain("UNKNOWN_KEY");
    expect(existsSync(join(pro().directory, "data", "warehouse.db"))).toBe(true);
    await fleet.cli([...sign, "--key", key, "--out", right]);
    await fleet.cli(["destroy-order", "submit", right, "--wait"]);
    expect(readdirSync(join(pro().directory, "data"))).toEqual([]);
    await until("the hub is told that it is gone", async () => (await keptNames()).length === 0);
    const late = await fleet.tryCli(["instance", "undelete", ...ETL]);
    expect(late.stderr).toContain("DATA_DESTROYED");
  });
}
