/** What the doctor says of an operator's own database. */
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { doctor } from "./doctor.ts";
import { clusterDeps, useTestStore } from "./store/testing.ts";

const store = useTestStore();

function urlOf(user: string, database = "holdfast"): string {
  const at = store().connection(user, database);
  if ("url" in at) return at.url;
  return `postgres://${user}@${encodeURIComponent(at.socketDir)}:${at.port}/${database}`;
}

async function findings(listenDatabaseUrl: string | undefined) {
  const { dataDir } = store();
  const { values } = readConfig({
    ...{ file: { data_dir: join(dataDir, "hub") }, env: {} },
    ...{ fileName: "hub.yaml", fileDirectory: dataDir, workingDirectory: dataDir },
  });
  const config = {
    ...{ ...values, listenDatabaseUrl },
    databaseUrl: urlOf("holdfast_app"),
    keyDatabaseUrl: urlOf("holdfast_key"),
  };
  const host = { ...clusterDeps(dataDir), clock: systemClock, nodeVersion: "24.21.0" };
  const report = await doctor(async () => config, host);
  return report.findings.filter(({ check }) => check.includes("database"));
}

it("tries the database, and whether notices of other processes arrive", async () => {
  expect(await findings(undefined)).toEqual([
    { check: "database", ok: true, message: expect.stringContaining("reachable") },
    { check: "listen_database_url", ok: true, message: expect.stringContaining("arrive") },
  ]);
});

it("says why nobody can listen", async () => {
  const [database, notices] = await findings(urlOf("nobody"));
  expect(database?.ok).toBe(true);
  expect(notices).toMatchObject({ check: "listen_database_url", ok: false });
  expect(notices?.message).toContain("does not let this role in");
});
