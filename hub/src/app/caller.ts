/**
 * Who calls and with which permission: what every use case is handed. Made by authentication and
 * authorisation alone; nothing in a request can change it.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";

export type RoleName = "owner" | "viewer";

/** A member that has proved who it is. Ids are UUIDs. */
export type Caller = Readonly<{
  vendorId: string;
  vendorName: string;
  /** NIL_UUID for a member of the vendor. */
  tenantId: string;
  tenantName: string;
  memberId: string;
  memberName: string;
  /** Empty: no grant that has not expired. */
  roles: readonly RoleName[];
}>;

/** One call of one RPC. */
export type Call = Readonly<{
  caller: Caller;
  /** Declared by the RPC and found with the caller, such as instance.get. */
  permission: string;
  /** Names the call in logs, events and error details. */
  callId: string;
  signal: AbortSignal;
}>;

export function isStaff(caller: Caller): boolean {
  return caller.tenantId === NIL_UUID;
}

/** What an event names as the one who did it. */
export function principalOf(caller: Caller): string {
  return isStaff(caller)
    ? `member/${caller.memberName}`
    : `member/${caller.tenantName}/${caller.memberName}`;
}

export type Scope = "tenant" | "vendor" | "self";

/** Verbs that change nothing. */
const READING_VERBS: ReadonlySet<string> = new Set(["get", "list", "query", "self"]);

/** Whether the role contains the permission `noun.verb`. */
export function roleHas(role: RoleName, permission: string): boolean {
  if (role === "owner") return true;
  return READING_VERBS.has(permission.split(".")[1] ?? "");
}

/**
 * Throws PERMISSION_DENIED `PERMISSION_MISSING` unless the caller may call an RPC of this permission and
 * scope. Which objects it then sees is the database's matter.
 */
export function authorise(caller: Caller, permission: string, scope: Scope): void {
  if (scope === "self") return;
  const isInScope = scope === "tenant" || isStaff(caller);
  if (isInScope && caller.roles.some((role) => roleHas(role, permission))) return;
  const who = isStaff(caller) ? "the vendor's" : "a tenant's";
  throw new Fault(
    "PERMISSION_DENIED",
    "PERMISSION_MISSING",
    `${permission} is not granted to ${who} member ${caller.memberName}`,
    { next: "holdfast whoami", metadata: { permission } },
  );
}
