/** What use cases work with; put together in serve.ts. */
import { randomBytes } from "node:crypto";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { SigningKey } from "@holdfast/shared/dsse.ts";
import { uuidV7 } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Authority } from "../pki/authority.ts";
import type { Wrapper } from "../secrets.ts";
import { type Context, catalogueContext, staffContext, tenantContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import type { TelemetryStore } from "../telemetry/port.ts";
import type { Blobs } from "./blobs.ts";
import { type Call, isStaff, principalOf } from "./caller.ts";
import type { CellBells } from "./cell-bells.ts";
import type { Outcasts } from "./outcasts.ts";
import type { OutputViews } from "./output-views.ts";
import type { Rehearsals } from "./rehearsals.ts";

/** The hub's keys for one vendor. */
export type VendorKeys = Readonly<{
  /** Signs agents' certificates. */
  agentAuthority: Authority;
  /** Signs assignments, entitlements and freshness notes. */
  assignmentKey: SigningKey;
}>;

export type Endpoints = Readonly<{ api: string; link: string; identity: string }>;

export type AppDeps = Readonly<{
  database: Database;
  clock: Clock;
  log: Log;
  version: string;
  incarnation: bigint;
  /** Names this process in sessions and leases. */
  replica: string;
  /** Of page tokens. */
  pageKey: Uint8Array;
  wrapper: Wrapper;
  /** Throws NOT_FOUND for a vendor that this hub does not serve. */
  keysOf(vendorId: string): VendorKeys;
  /** DER of the roots of the hub's own servers. */
  serverRoots: readonly Uint8Array[];
  endpoints: () => Endpoints;
  /** `vendorId` is that of a vendor that this hub serves. */
  blobsOf(vendorId: string): Promise<Blobs>;
  cellBells: CellBells;
  /** Ring where an order was made. */
  actionBells: CellBells;
  rehearsals: Rehearsals;
  outputViews: OutputViews;
  /** For how long an instance can be undeleted where its plan does not say. */
  undeleteDays: number;
  outcasts: Outcasts;
  telemetry: TelemetryStore;
  /** Rings when events of the vendor got their place. Returns how to stop listening. */
  eventsPlaced(vendorId: string, ring: () => void): () => void;
}>;

/** The range that the caller acts in: the vendor's whole for staff, else the tenant's own rows. */
export function contextOf({ caller, permission }: Call): Context {
  const actor = { principal: principalOf(caller), permission };
  return isStaff(caller)
    ? staffContext(caller.vendorId, actor)
    : tenantContext(caller.vendorId, caller.tenantId, actor);
}

/**
 * For reading what the vendor publishes (releases, plans, hosted cells) on behalf of a tenant whose own
 * range does not show it. Never for writing, and nothing that is read so is answered as it is.
 */
export function catalogueContextOf({ caller, permission }: Call): Context {
  return catalogueContext(caller.vendorId, { principal: principalOf(caller), permission });
}

export function newId(clock: Clock): string {
  return uuidV7(clock.now(), randomBytes(10));
}
