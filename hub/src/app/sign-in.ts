/**
 * Finds the member behind a token. All refusals say the same, whatever the cause: a caller must not learn
 * whether a token was ever good. The cause goes to the log.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import * as apiTokens from "../store/api-tokens.ts";
import type { Database } from "../store/database.ts";
import { parseApiToken } from "./api-token.ts";
import type { Caller, RoleName } from "./caller.ts";

export type SignInDeps = Readonly<{
  database: Database;
  /** Name of a vendor that this hub serves; undefined for any other. */
  vendorName(vendorId: string): Promise<string | undefined>;
}>;

const SCHEME = /^bearer +(\S+)$/i;
/** Longer headers are not looked at. */
const HEADER_CHARS_MAX = 1_000;

/** `authorization` is the header's value. Throws UNAUTHENTICATED `TOKEN_REFUSED`. */
export async function signIn(deps: SignInDeps, authorization: string | null): Promise<Caller> {
  const text = (authorization ?? "").slice(0, HEADER_CHARS_MAX);
  const token = parseApiToken(SCHEME.exec(text.trim())?.[1] ?? "");
  const vendorName = token && (await deps.vendorName(token.vendorId));
  if (token === undefined || vendorName === undefined) throw refused();
  const member = await apiTokens.signIn(deps.database, token.vendorId, token.secretHash);
  if (member === null) throw refused();
  const { tenantId, tenantName, memberId, memberName } = member;
  const roles = member.roles.filter(isRole);
  return {
    vendorId: token.vendorId,
    vendorName,
    tenantId,
    tenantName,
    memberId,
    memberName,
    roles,
  };
}

function isRole(text: string): text is RoleName {
  return text === "owner" || text === "viewer";
}

function refused(): Fault {
  return new Fault(
    "UNAUTHENTICATED",
    "TOKEN_REFUSED",
    "no valid API token; send it as the header Authorization: Bearer TOKEN",
    { next: "holdfast context list" },
  );
}
