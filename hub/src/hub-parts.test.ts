/** The hub's parts by a clock that cannot be right: nothing is signed, nothing is made. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { CLOCK_BEHIND_MS_MAX } from "@holdfast/shared/plausible-clock.ts";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { openParts } from "./hub-parts.ts";
import { hubContext, taskContext } from "./store/context.ts";
import * as checkpoints from "./store/event-checkpoints.ts";
import { silentLog, useTestStore } from "./store/testing.ts";
import { readWithContext, withContext } from "./store/tx.ts";
import * as vendors from "./store/vendors.ts";

const store = useTestStore();
let dataDir = "";
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "hf-parts-"));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

const list = () => readWithContext(store().database, hubContext("test"), vendors.list);

/** A start on the same data whose clock says this. */
async function startAt(now: number) {
  const places = { fileName: "test", fileDirectory: dataDir, workingDirectory: dataDir, env: {} };
  const config = readConfig({ file: { data_dir: dataDir }, ...places }).values;
  const clock = { ...systemClock, now: () => now };
  const host = { clock, log: silentLog, version: "test", print: () => undefined };
  const { app } = await openParts(config, host, store().database);
  await app.telemetry.close();
}

it.each([0, Date.UTC(2099, 0, 1)])("refuses %d before anything is made", async (now) => {
  await expect(startAt(now)).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "CLOCK_IMPLAUSIBLE",
    message: `clock implausible: ${new Date(now).toISOString()}, last signed time none`,
  });
  expect(await list()).toEqual([]);
});

it("refuses a time long before what it has signed last, and says both", async () => {
  await startAt(Date.now());
  const [vendor] = await list();
  const context = taskContext(vendor?.id ?? "", "test");
  const signed = { position: 1n, body: "", keyId: "k", signature: new Uint8Array(64) };
  await withContext(store().database, context, (tx) => checkpoints.insert(tx, signed));
  const newest = await readWithContext(store().database, context, checkpoints.newest);
  const signedMs = newest?.createdAt.getTime() ?? 0;
  const last = `last signed time ${new Date(signedMs).toISOString()}`;
  await expect(startAt(signedMs - CLOCK_BEHIND_MS_MAX - 1)).rejects.toThrow(last);
  await startAt(signedMs);
});
