/**
 * A hub as `holdfast-hub serve` runs it, which the bench can ask for its memory and for one change to all instances:
 * transactions that sign a new assignment for each of 128, as an API call does for one. As many go in one of etcd's.
 * usage: node --expose-gc hub-process.ts CONFIG_FILE
 */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { ControlResponseSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { AppDeps } from "../../../hub/src/app/deps.ts";
import { assign } from "../../../hub/src/app/offer.ts";
import { readConfig } from "../../../hub/src/config.ts";
import { openParts } from "../../../hub/src/hub-parts.ts";
import { openHubDatabase } from "../../../hub/src/open-database.ts";
import { serveParts } from "../../../hub/src/serve.ts";
import { hubContext, taskContext } from "../../../hub/src/store/context.ts";
import { silentLog } from "../../../hub/src/store/testing.ts";
import { readWithContext, withContext } from "../../../hub/src/store/tx.ts";
import * as vendors from "../../../hub/src/store/vendors.ts";
import { type FromServer, type ToServer, wallMs } from "./messages.ts";

const CHANGES_PER_TRANSACTION = 128;

const [configFile = ""] = process.argv.slice(2);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
process.on("disconnect", () => stop.abort());

const config = readConfig({
  file: JSON.parse(readFileSync(configFile, "utf8")),
  fileName: configFile,
  fileDirectory: dirname(configFile),
  env: {},
  workingDirectory: process.cwd(),
}).values;
const host = {
  clock: systemClock,
  random: Math.random,
  log: silentLog,
  uid: process.getuid?.() ?? 0,
  pid: process.pid,
  kill: (pid: number, signal: NodeJS.Signals | 0) => void process.kill(pid, signal),
  tempDir: tmpdir(),
  platform: { os: process.platform, cpu: process.arch },
  version: "bench",
  print: () => undefined,
  onCrash: () => undefined,
};

const { database, close } = await openHubDatabase(config, host, false);
const parts = await openParts(config, host, database);
const { app } = parts;

process.on("message", (message: ToServer) => void answer(message));

async function answer(message: ToServer): Promise<void> {
  if (message.type === "change") {
    say({ type: "changed", ...(await changeAll(message.round)) });
    return;
  }
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" } as never);
  const { user, system } = process.cpuUsage();
  const rssBytes = process.memoryUsage.rss();
  say({ type: "measured", rssBytes, cpuMs: (user + system) / 1_000, connected: await connected() });
}

type Stored = Readonly<{ instance_id: string; cell_id: string; offer: Uint8Array }>;

async function changeAll(round: number) {
  const calledAt = wallMs();
  let committedAt = 0;
  const vendorId = await onlyVendor();
  for (let after = NIL_UUID, isMore = true; isMore; ) {
    const rows = await withContext(database, taskContext(vendorId, "bench"), async (tx) => {
      // The first of what runs after the commit.
      tx.afterCommit(() => {
        committedAt = wallMs();
      });
      const page = await tx.query<Stored>(
        `select instance_id, cell_id, offer from assignment where instance_id > $1
          order by instance_id limit ${CHANGES_PER_TRANSACTION}`,
        [after],
      );
      await Promise.all(page.map((row) => changeOne(app, tx, vendorId, row, round)));
      return page;
    });
    after = rows.at(-1)?.instance_id ?? after;
    isMore = rows.length === CHANGES_PER_TRANSACTION;
  }
  return { calledAt, committedAt };
}

async function changeOne(
  deps: AppDeps,
  tx: Parameters<typeof assign>[1],
  vendorId: string,
  row: Stored,
  round: number,
): Promise<void> {
  const { message } = fromBinary(ControlResponseSchema, row.offer);
  if (message.case !== "offer") throw new Error("a stored frame is no offer");
  const payload = message.value.assignment?.payload ?? new Uint8Array();
  const { $typeName: _, $unknown: __, ...last } = fromBinary(AssignmentSchema, payload);
  const place = { vendorId, cellId: row.cell_id, instanceId: row.instance_id };
  await assign(deps, tx, place, { ...last, facts: { ...last.facts, round } }, undefined);
}

async function onlyVendor(): Promise<string> {
  const [vendor] = await readWithContext(database, hubContext("bench"), vendors.list);
  return vendor?.id ?? "";
}

async function connected(): Promise<number> {
  const vendorId = await onlyVendor();
  const rows = await readWithContext(database, taskContext(vendorId, "bench"), (tx) =>
    tx.query<{ count: number }>(
      "select count(*)::int as count from agent_session where closed_at is null",
    ),
  );
  return rows[0]?.count ?? 0;
}

function say(message: FromServer): void {
  process.send?.(message);
}

await serveParts(config, host, parts, stop.signal).finally(() => app.telemetry.close());
await close();
// The channel to the bench would keep it alive.
process.exit(0);
