/** What the agent's commands do besides `run`: join, tell, end the workloads. Each returns what goes to stdout. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { newSealingIdentity } from "@holdfast/shared/sealing.ts";
import { pinKeySet } from "../assignments/pinning.ts";
import type { Driver, DriverContext } from "../drivers/driver.ts";
import type { Identity } from "../link/port.ts";
import { bounded } from "../reconcile/snapshots.ts";
import { openStore, openStoreToRead, type Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";
import * as identities from "../store/identity.ts";
import * as secrets from "../store/secrets.ts";
import {
  checkStateDirectory,
  findHolder,
  SOCKET_FILE,
  STORE_FILE,
  type StateHost,
  takeLock,
} from "../store/state-directory.ts";
import { type LocalReport, localReport } from "./report.ts";
import { askLocalServer } from "./server.ts";
import { findInstance, statusText, whyText } from "./show.ts";

export type Output = "text" | "json";

export type EnrolledAgent = Readonly<{
  identity: Identity;
  keySets: readonly Envelope[];
  incarnation: bigint;
}>;

/** Joins a cell with what `obtain` gets, unless this directory has an identity already. */
export async function enrollInto(
  stateDir: string,
  host: StateHost,
  now: number,
  obtain: () => Promise<EnrolledAgent>,
): Promise<string> {
  checkStateDirectory(stateDir, host.uid);
  const lock = takeLock(stateDir, host);
  const path = join(stateDir, STORE_FILE);
  const isNew = !existsSync(path);
  let isEnrolled = false;
  try {
    const { store } = openStore(path, now);
    try {
      refuseSecond(store, stateDir);
      const { identity, keySets, incarnation } = await obtain();
      const sealing = await newSealingIdentity();
      store.transaction(() => {
        identities.insert(store, identity);
        secrets.putSealingIdentity(store, sealing);
        for (const envelope of keySets) pinKeySet(store, envelope, identity.vendorId);
        facts.raiseIncarnation(store, incarnation);
        facts.clearDamaged(store);
      });
      isEnrolled = true;
      return `enrolled as ${identity.agentId} in cell ${identity.cellId}\nnext: holdfast-agent run --state ${stateDir}\n`;
    } finally {
      store.close();
    }
  } finally {
    // A store without an identity would look like an agent that has joined.
    if (isNew && !isEnrolled) removeStore(path);
    lock.release();
  }
}

function removeStore(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
}

/** Before the token is used up. */
function refuseSecond(store: Store, stateDir: string): void {
  const held = identities.find(store);
  if (held === undefined) return;
  throw new Fault(
    "ALREADY_EXISTS",
    "ALREADY_ENROLLED",
    `${stateDir}: this is agent ${held.agentId} already`,
    { next: `holdfast-agent status --state ${stateDir}` },
  );
}

/** From the running agent, or from its store when none runs. */
export async function readReport(
  stateDir: string,
  host: Pick<StateHost, "startTimeOf">,
  version: string,
): Promise<LocalReport> {
  const holder = findHolder(stateDir, host);
  const socket = join(stateDir, SOCKET_FILE);
  if (holder !== undefined && existsSync(socket)) {
    const answer = await askLocalServer(socket).catch(() => undefined);
    if (answer !== undefined) return answer;
  }
  const store = openStoreToRead(join(stateDir, STORE_FILE));
  if (store === undefined) {
    throw new Fault("NOT_FOUND", "STATE_MISSING", `${stateDir}: no agent was enrolled here`, {
      next: `holdfast-agent enroll --state ${stateDir} --token-file FILE`,
    });
  }
  try {
    const running = holder !== undefined;
    return localReport(store, { running, pid: holder?.pid, version, statuses: undefined });
  } finally {
    store.close();
  }
}

export function shownStatus(report: LocalReport, output: Output): string {
  return output === "json" ? asJson(report) : statusText(report);
}

export function shownWhy(report: LocalReport, instance: string, output: Output): string {
  const found = findInstance(report, instance);
  return output === "json" ? asJson(found) : whyText(report, found);
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

const HALT_STEP_MS_MAX = 60_000;

/** Ends all workloads of an agent that does not run. Nothing is forgotten: the next run starts them again. */
export async function haltWorkloads(
  stateDir: string,
  host: StateHost,
  driver: Driver,
  context: DriverContext,
): Promise<string> {
  const lock = takeLock(stateDir, host);
  try {
    let ended = 0;
    const lives = await driver.observe(context);
    const keys = new Map(lives.map(({ key }) => [`${key.instanceId}/${key.resourceId}`, key]));
    for (const key of keys.values()) {
      const copies = lives.filter(
        (live) => live.key.instanceId === key.instanceId && live.key.resourceId === key.resourceId,
      );
      for (const step of driver.steps(copies, undefined, undefined, context.clock.now())) {
        const { resourceId, kind, verb, input } = step;
        await bounded(context.clock, HALT_STEP_MS_MAX, step.id, (signal) =>
          driver.run(
            { resourceId, kind, verb, input },
            { ...context, signal, wanted: noRendering },
          ),
        );
        ended += 1;
      }
    }
    return `${ended} workloads ended; data is kept\n`;
  } finally {
    lock.release();
  }
}

function noRendering(digest: string): never {
  throw new Fault("INTERNAL", "RENDERING_LOST", `no rendering with digest ${digest}`);
}
