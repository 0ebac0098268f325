/**
 * Pages of lists: their size, and tokens that say where to go on. A token is bound to the caller's range and
 * to the query by a MAC, so one that was forged or taken from another list is refused. Opaque to callers.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Call } from "./caller.ts";

export const PAGE_SIZE_DEFAULT = 50;
/** Larger requests get this many (AIP-158). */
export const LIST_ROWS_MAX = 500;
const MAC_BYTES = 16;

export function pageSizeOf(asked: number): number {
  return asked === 0 ? PAGE_SIZE_DEFAULT : Math.min(asked, LIST_ROWS_MAX);
}

/** What a token holds for: whoever asks, whatever is asked. */
export type PageBinding = Readonly<{ call: Call; query: unknown }>;

/** `position` is JSON of a few values. */
export function pageToken(key: Uint8Array, binding: PageBinding, position: unknown): string {
  const body = Buffer.from(JSON.stringify(position));
  return Buffer.concat([mac(key, binding, body), body]).toString("base64url");
}

/** The position; undefined for an empty token. Throws INVALID_ARGUMENT `PAGE_TOKEN_INVALID`. */
export function readPageToken(key: Uint8Array, binding: PageBinding, token: string): unknown {
  if (token === "") return undefined;
  const bytes = Buffer.from(token, "base64url");
  const body = bytes.subarray(MAC_BYTES);
  const given = bytes.subarray(0, MAC_BYTES);
  const isGood =
    given.length === MAC_BYTES &&
    body.length > 0 &&
    timingSafeEqual(given, mac(key, binding, body));
  if (isGood) return JSON.parse(body.toString("utf8"));
  throw new Fault(
    "INVALID_ARGUMENT",
    "PAGE_TOKEN_INVALID",
    "page_token: not one that this list gave out; begin again without it",
    { violations: [{ path: "page_token", message: "not one that this list gave out" }] },
  );
}

function mac(key: Uint8Array, { call, query }: PageBinding, body: Uint8Array): Buffer {
  const { vendorId, tenantId } = call.caller;
  const bound = JSON.stringify([vendorId, tenantId, call.permission, query]);
  return createHmac("sha256", key)
    .update(bound)
    .update("\0")
    .update(body)
    .digest()
    .subarray(0, MAC_BYTES);
}
