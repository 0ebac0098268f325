/**
 * The one-time token with which an agent joins a cell. It carries where to join and the fingerprint of the
 * hub's authority, so that nothing else is needed, and a checksum, so that a damaged one is told apart
 * without a call. Whether it is still good only the hub knows.
 */
import { sha256 } from "./digest.ts";
import { Fault } from "./fault.ts";
import { isUuid } from "./ids.ts";
import { shown } from "./text.ts";

export const JOIN_TOKEN_PREFIX = "hfj_";
const TOKEN_CHARS_MAX = 4096;
const ENDPOINTS_MAX = 8;
const CHECKSUM_CHARS = 8;
const VERSION = 1;

export type JoinToken = Readonly<{
  vendorId: string;
  /** UUID of the token's row; no secret. */
  id: string;
  /** 32 random bytes, base64url without padding: 43 characters. */
  secret: string;
  /** host:port of the identity service, in order of preference. */
  identityEndpoints: readonly string[];
  /** SHA-256 of the DER of the root of the hub's servers, 64 lower-case hex digits. */
  rootFingerprint: string;
}>;

export function encodeJoinToken(token: JoinToken): string {
  const json = JSON.stringify({
    v: VERSION,
    vendor: token.vendorId,
    id: token.id,
    secret: token.secret,
    identity: token.identityEndpoints,
    ca: token.rootFingerprint,
  });
  const body = JOIN_TOKEN_PREFIX + Buffer.from(json).toString("base64url");
  return `${body}_${checksum(body)}`;
}

/**
 * Throws UNAUTHENTICATED `TOKEN_DAMAGED` for anything but a whole join token. Surrounding white space is
 * dropped: files end in a newline. No message repeats the token.
 */
export function parseJoinToken(text: string): JoinToken {
  const token = text.trim();
  if (token === "") throw damaged("it is empty");
  if (token.length > TOKEN_CHARS_MAX) {
    throw damaged(`${token.length} characters; at most ${TOKEN_CHARS_MAX}`);
  }
  if (!token.startsWith(JOIN_TOKEN_PREFIX)) {
    const prefix = /^[a-z]{1,8}_/.exec(token)?.[0];
    const got = prefix === undefined ? "something else" : shown(prefix);
    throw damaged(`it starts with ${got}; join tokens start with ${JOIN_TOKEN_PREFIX}`);
  }
  const at = token.length - CHECKSUM_CHARS - 1;
  const body = token.slice(0, at);
  if (token[at] !== "_" || token.slice(at + 1) !== checksum(body)) {
    throw damaged("its checksum does not fit; it was cut or altered");
  }
  return fieldsOf(body.slice(JOIN_TOKEN_PREFIX.length));
}

function fieldsOf(base64: string): JoinToken {
  const { v, vendor, id, secret, identity, ca } = jsonOf(base64);
  if (v !== VERSION) throw damaged(`its version is ${shown(v)}; this agent knows ${VERSION}`);
  const isWhole =
    isText(vendor) &&
    isUuid(vendor) &&
    isText(id) &&
    isUuid(id) &&
    isText(secret) &&
    /^[A-Za-z0-9_-]{43}$/.test(secret) &&
    isText(ca) &&
    /^[0-9a-f]{64}$/.test(ca);
  if (!isWhole || !isEndpointList(identity)) throw damaged("a field is missing or malformed");
  return { vendorId: vendor, id, secret, identityEndpoints: identity, rootFingerprint: ca };
}

function jsonOf(base64: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(base64, "base64url").toString("utf8"));
    if (typeof value === "object" && value !== null) return { ...value };
  } catch {
    // Answered below: the parser's own message would repeat a part of the token.
  }
  throw damaged("its content is no JSON");
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isEndpointList(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= ENDPOINTS_MAX &&
    value.every((each) => isText(each) && /^\S{1,255}:\d{1,5}$/.test(each))
  );
}

function checksum(body: string): string {
  return Buffer.from(sha256(body)).toString("hex").slice(0, CHECKSUM_CHARS);
}

function damaged(what: string): Fault {
  return new Fault("UNAUTHENTICATED", "TOKEN_DAMAGED", `join token damaged: ${what}`, {
    next: "holdfast cell token CELL",
  });
}
