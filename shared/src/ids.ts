/**
 * Identifiers. The database has UUIDs (version 7, RFC 9562); everybody else sees a prefix for the kind and
 * 32 hex digits, so that an id of the wrong kind is told apart at sight.
 */
import { Fault } from "./fault.ts";
import { shown } from "./text.ts";

export const ID_PREFIXES = {
  vendor: "ven",
  tenant: "ten",
  member: "mem",
  token: "tok",
  product: "prd",
  release: "rel",
  plan: "pln",
  subscription: "sub",
  environment: "env",
  cell: "cel",
  agent: "agt",
  instance: "ins",
  seat: "sea",
  action: "act",
  event: "evt",
} as const;
export type IdKind = keyof typeof ID_PREFIXES;

/** The tenant id that vendor-level rows carry. */
export const NIL_UUID = "00000000-0000-0000-0000-000000000000";
export const MAX_UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** `now` in ms since 1970; `randomBytes` gives 10 bytes. Ids made in one millisecond are not ordered. */
export function uuidV7(now: number, randomBytes: Uint8Array): string {
  const hex = Math.floor(now).toString(16).padStart(12, "0");
  const random = Buffer.from(randomBytes.subarray(0, 10));
  random[0] = ((random[0] ?? 0) & 0x0f) | 0x70;
  random[2] = ((random[2] ?? 0) & 0x3f) | 0x80;
  const tail = random.toString("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    tail.slice(0, 4),
    tail.slice(4, 8),
    tail.slice(8, 20),
  ].join("-");
}

export function idOf(kind: IdKind, uuid: string): string {
  return `${ID_PREFIXES[kind]}_${uuid.replaceAll("-", "")}`;
}

/** Whether the text has the form of an id (of any kind) rather than of a name: names have no underscore. */
export function isId(text: string): boolean {
  return text.includes("_");
}

/** The UUID in an id of this kind. Throws INVALID_ARGUMENT `ID_MALFORMED`. */
export function uuidOf(kind: IdKind, id: string, path: string = kind): string {
  const prefix = ID_PREFIXES[kind];
  const hex = id.slice(prefix.length + 1);
  if (id.startsWith(`${prefix}_`) && /^[0-9a-f]{32}$/.test(hex)) return dashed(hex);
  throw new Fault(
    "INVALID_ARGUMENT",
    "ID_MALFORMED",
    `${path}: got ${shown(id)}; expected ${prefix}_ and 32 lower-case hex digits`,
  );
}

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

function dashed(hex: string): string {
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}
