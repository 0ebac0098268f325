/**
 * Whom a transaction acts for, and the MAC with which the database believes it (migration 000001).
 * Contexts are made here and nowhere else; a range is never wider than the named constructor says.
 */
import { hash, randomUUID } from "node:crypto";
import { MAX_UUID, NIL_UUID } from "@holdfast/shared/ids.ts";

export type Context = Readonly<{
  vendorId: string;
  /** Above `vendorId` only in the hub's own context, which may list vendors. */
  vendorHi: string;
  tenantLo: string;
  tenantHi: string;
  cellLo: string;
  cellHi: string;
  /** Who acts: member/NAME, agent/NAME or hub/TASK. */
  principal: string;
  /** The permission that the RPC declares; empty for the hub's own tasks. */
  permission: string;
}>;

type Actor = Readonly<{ principal: string; permission: string }>;

const ALL_CELLS = { cellLo: NIL_UUID, cellHi: MAX_UUID };
const ALL_TENANTS = { tenantLo: NIL_UUID, tenantHi: MAX_UUID };

/** A member of the vendor: all of the vendor's rows. */
export function staffContext(vendorId: string, actor: Actor): Context {
  return { vendorId, vendorHi: vendorId, ...ALL_TENANTS, ...ALL_CELLS, ...actor };
}

/** A member of a tenant: that tenant's rows only. */
export function tenantContext(vendorId: string, tenantId: string, actor: Actor): Context {
  if (tenantId === NIL_UUID) throw new RangeError("the nil tenant is the vendor itself");
  const range = { tenantLo: tenantId, tenantHi: tenantId };
  return { vendorId, vendorHi: vendorId, ...range, ...ALL_CELLS, ...actor };
}

/** The vendor's own rows and no tenant's: what is published to all of them, such as releases and plans. */
export function catalogueContext(vendorId: string, actor: Actor): Context {
  const range = { tenantLo: NIL_UUID, tenantHi: NIL_UUID };
  return { vendorId, vendorHi: vendorId, ...range, ...ALL_CELLS, ...actor };
}

/** An agent: all tenants of its vendor, but one cell. */
export function agentContext(vendorId: string, cellId: string, agentId: string): Context {
  return {
    vendorId,
    vendorHi: vendorId,
    ...ALL_TENANTS,
    cellLo: cellId,
    cellHi: cellId,
    principal: `agent/${agentId}`,
    permission: "",
  };
}

/** A task of the hub for one vendor, such as the sequencer or signing in. */
export function taskContext(vendorId: string, task: string): Context {
  return staffContext(vendorId, { principal: `hub/${task}`, permission: "" });
}

/** The hub itself: lists vendors, and holds rows of its own under the nil vendor id. */
export function hubContext(task: string): Context {
  return { ...taskContext(NIL_UUID, task), vendorHi: MAX_UUID, tenantHi: NIL_UUID };
}

/** Makes a vendor: its id does not exist yet, so no other context could be inside of it. */
export const vendorContext = taskContext;

/** A context that the database believes for one transaction or one statement's body, never for longer. */
export const CONTEXT_LIFE_MS_MAX = 60_000;
/** Of one-statement contexts, which are not bound to a transaction. */
export const STATEMENT_CONTEXT_LIFE_MS_MAX = 15_000;
/** How long a key is believed; a hub writes its next one well before. */
export const CONTEXT_KEY_LIFE_MS_MAX = 24 * 3_600_000;

const BLOCK_BYTES = 64;

/**
 * A MAC key of this process as the pads of RFC 2104; the database gets them from the key login and the app role never
 * sees them.
 */
export type ContextKey = Readonly<{ id: string; inner: Buffer; outer: Buffer }>;

export function mintContextKey(secret: Buffer): ContextKey {
  if (secret.length !== 32)
    throw new RangeError(`a context key has 32 bytes, got ${secret.length}`);
  const pad = (byte: number) => {
    const block = Buffer.alloc(BLOCK_BYTES, byte);
    for (const [at, each] of secret.entries()) block[at] = each ^ byte;
    return block;
  };
  return { id: randomUUID(), inner: pad(0x36), outer: pad(0x5c) };
}

/** HMAC-SHA256 by two digests: a fourth of what making an Hmac costs, and each transaction needs one. */
function macOf({ inner, outer }: ContextKey, said: string): string {
  const digest = hash("sha256", Buffer.concat([inner, Buffer.from(said)]), "buffer");
  return hash("sha256", Buffer.concat([outer, digest]), "hex");
}

/** What the context holds for: the transaction as the database names it, or the SHA-256 (hex) of a statement's body. */
export type Binding = Readonly<{ transaction: string } | { body: string }>;

export type SignedContext = Readonly<{ said: string; mac: string }>;

/** `expiresAt` in ms since 1970 by the database's clock. */
export function signContext(
  key: ContextKey,
  context: Context,
  binding: Binding,
  expiresAt: number,
): SignedContext {
  const said = JSON.stringify({
    key: key.id,
    vendor: context.vendorId,
    vendor_hi: context.vendorHi,
    tenant_lo: context.tenantLo,
    tenant_hi: context.tenantHi,
    cell_lo: context.cellLo,
    cell_hi: context.cellHi,
    principal: context.principal,
    permission: context.permission,
    expires: Math.floor(expiresAt),
    ...binding,
  });
  return { said, mac: macOf(key, said) };
}
