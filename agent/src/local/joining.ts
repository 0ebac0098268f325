/**
 * Makes a state directory an agent's: of a cell that has none, or in the place of the one before. A takeover keeps
 * what the directory holds and measured, and goes on where the workloads live; only who says so to the hub is new.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { clockProblem } from "@holdfast/shared/plausible-clock.ts";
import { newSealingIdentity } from "@holdfast/shared/sealing.ts";
import { pinAtJoin } from "../assignments/pinning.ts";
import type { Identity } from "../link/port.ts";
import { claim, findClaim, ofAnother } from "../store/claims.ts";
import { openStore, type Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";
import * as identities from "../store/identity.ts";
import { Outbox } from "../store/outbox.ts";
import * as secrets from "../store/secrets.ts";
import {
  checkStateDirectory,
  STORE_FILE,
  type StateHost,
  takeLock,
} from "../store/state-directory.ts";
import { chooseWorkplace, workplaceOf } from "./workplace.ts";

export type EnrolledAgent = Readonly<{
  identity: Identity;
  keySets: readonly Envelope[];
  incarnation: bigint;
}>;

/** Undefined `takeover`: the first agent of its cell, in a directory without an identity. */
export type Joining = Readonly<{
  takeover?: Readonly<{
    /** State directory of the agent before, if it is known. */
    from: string | undefined;
    /** Directories that marks of this host's processes name. */
    marked: () => readonly string[];
  }>;
  /** `cellId`: whose workloads are here already; empty: nobody's. */
  obtain: (cellId: string) => Promise<EnrolledAgent>;
}>;

/** Joins a cell with what `obtain` gets. Returns what goes to stdout. */
export async function enrollInto(
  stateDir: string,
  host: StateHost,
  now: number,
  joining: Joining,
): Promise<string> {
  const wrong = clockProblem(now);
  if (wrong !== undefined) {
    throw new Fault("FAILED_PRECONDITION", "CLOCK_IMPLAUSIBLE", wrong, {
      next: "set the clock, then enroll again; the token is not used up",
    });
  }
  checkStateDirectory(stateDir, host.uid);
  const lock = takeLock(stateDir, host);
  const path = join(stateDir, STORE_FILE);
  const isNew = !existsSync(path);
  let isEnrolled = false;
  try {
    const { store } = openStore(path, now);
    try {
      if (joining.takeover === undefined) refuseSecond(store, stateDir);
      const enrolled = await joining.obtain(cellHeld(store, stateDir, joining));
      const workplace = await keep(store, stateDir, joining, enrolled);
      isEnrolled = true;
      // From here on the agent before does not act on this host, whatever it has heard.
      claim(workplace, enrolled.identity);
      const { agentId, cellId } = enrolled.identity;
      const kept =
        workplace === stateDir ? "" : `workloads stay in ${workplace}; keep that directory\n`;
      return `enrolled as ${agentId} in cell ${cellId}\n${kept}next: holdfast-agent run --state ${stateDir}\n`;
    } finally {
      store.close();
    }
  } finally {
    // A store without an identity would look like an agent that has joined.
    if (isNew && !isEnrolled) removeStore(path);
    lock.release();
  }
}

async function keep(
  store: Store,
  stateDir: string,
  { takeover }: Joining,
  { identity, keySets, incarnation }: EnrolledAgent,
): Promise<string> {
  const sealing = await newSealingIdentity();
  const before = identities.find(store);
  const workplace =
    takeover === undefined || (before !== undefined && takeover.from === undefined)
      ? workplaceOf(store, stateDir)
      : chooseWorkplace(stateDir, identity.cellId, {
          named: takeover.from,
          marked: [stateDir, ...takeover.marked()],
        });
  store.transaction(() => {
    if (before !== undefined) giveWay(store, before, identity);
    identities.insert(store, identity);
    facts.putWorkplace(store, workplace);
    if (takeover !== undefined && before === undefined) facts.beginAdopting(store);
    secrets.putSealingIdentity(store, sealing);
    pinAtJoin(store, keySets, identity.vendorId);
    facts.raiseIncarnation(store, incarnation);
    facts.clearDamaged(store);
  });
  return workplace;
}

/** Asked before the token is spent: a token for another cell is then refused by the hub. */
function cellHeld(store: Store, stateDir: string, { takeover }: Joining): string {
  const place = takeover?.from ?? workplaceOf(store, stateDir);
  return identities.find(store)?.cellId ?? findClaim(place)?.cellId ?? "";
}

function giveWay(store: Store, before: Identity, { cellId }: Identity): void {
  if (before.cellId !== cellId) throw ofAnother("this state directory", before.cellId);
  identities.remove(store);
  facts.clearFenced(store);
  facts.clearFrozen(store);
  // A new agent has no epoch; whatever is kept and later than the hub's is numbered anew in its first one.
  new Outbox(store.db).forgetEpoch();
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
    `${stateDir}: this is agent ${held.agentId} already; a takeover needs --takeover and a token for it`,
    { next: `holdfast-agent status --state ${stateDir}` },
  );
}
