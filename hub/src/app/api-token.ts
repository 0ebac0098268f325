/**
 * API tokens: `hft_`, the vendor in clear (so that the look-up can be routed before sign-in), a secret, and a
 * checksum that tells a damaged one apart without a query. The hub keeps the secret's hash only.
 */
import { randomBytes } from "node:crypto";
import { sha256 } from "@holdfast/shared/digest.ts";

const FORM = /^(hft_([0-9a-f]{32})_([A-Za-z0-9_-]{43}))_([0-9a-f]{8})$/;
const SECRET_BYTES = 32;

export type ApiToken = Readonly<{ vendorId: string; secretHash: Uint8Array }>;

/** A new token and what the hub keeps of it. */
export function mintApiToken(vendorId: string): Readonly<{ text: string; secretHash: Uint8Array }> {
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  const body = `hft_${vendorId.replaceAll("-", "")}_${secret}`;
  return { text: `${body}_${checksum(body)}`, secretHash: sha256(secret) };
}

/** Undefined for anything that is no whole token. */
export function parseApiToken(text: string): ApiToken | undefined {
  const [, body, vendor, secret, sum] = FORM.exec(text) ?? [];
  if (body === undefined || vendor === undefined || secret === undefined) return undefined;
  if (sum !== checksum(body)) return undefined;
  const vendorId = vendor.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { vendorId, secretHash: sha256(secret) };
}

function checksum(body: string): string {
  return Buffer.from(sha256(body)).toString("hex").slice(0, 8);
}
