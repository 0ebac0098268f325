/** Content digests in the one spelling that is used everywhere: `sha256:` and 64 hex digits. */
import { createHash } from "node:crypto";
import { Fault } from "./fault.ts";
import { shown } from "./text.ts";

declare const brand: unique symbol;
export type Digest = string & { readonly [brand]: "Digest" };

const FORM = /^sha256:[0-9a-f]{64}$/;

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;
}

/** Throws INVALID_ARGUMENT `DIGEST_MALFORMED` for anything but the canonical form. */
export function parseDigest(text: string, path = "digest"): Digest {
  if (FORM.test(text)) return text as Digest;
  throw new Fault(
    "INVALID_ARGUMENT",
    "DIGEST_MALFORMED",
    `${path}: got ${shown(text)}; allowed: sha256: and 64 lower-case hex digits`,
  );
}

export function sha256(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}
