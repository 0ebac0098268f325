/**
 * How callers name objects: by id (a prefix for the kind and 32 hex digits) or by name. What is not visible
 * to the caller is answered exactly as what does not exist.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { type IdKind, isId, NIL_UUID, uuidOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import { TENANTS } from "../store/object-tables.ts";
import { find, type ObjectKey, type ObjectRow, type ObjectTable } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";

/** The same rule as in metadata.proto. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

export type Reference = Readonly<{
  kind: IdKind;
  table: ObjectTable;
  /** As the caller wrote it. */
  text: string;
  /** Field of the request, for messages. */
  path: string;
  /** Only among this owner's; undefined: whoever owns it. */
  tenantId?: string | undefined;
}>;

/** Throws INVALID_ARGUMENT `ID_MALFORMED` or `NAME_MALFORMED`. */
export function keyOf({ kind, text, path, tenantId }: Reference): ObjectKey {
  if (isId(text)) return { id: uuidOf(kind, text, path) };
  if (NAME.test(text)) return tenantId === undefined ? { name: text } : { name: text, tenantId };
  const allowed = "1 to 63 lower-case letters, digits, dots and dashes, or an id";
  const message = `got ${shown(text)}; allowed: ${allowed}`;
  throw new Fault("INVALID_ARGUMENT", "NAME_MALFORMED", `${path}: ${message}`, {
    violations: [{ path, message }],
  });
}

export function notFound({ kind, text }: Pick<Reference, "kind" | "text">): Fault {
  return new Fault("NOT_FOUND", "NOT_FOUND", `${kind} ${shown(text)}: not found`, {
    next: `holdfast get ${kind}s`,
    metadata: { kind },
  });
}

/** The object, or undefined. Throws INVALID_ARGUMENT `NAME_AMBIGUOUS` if several tenants use the name. */
export async function lookUp(
  tx: Tx,
  reference: Reference,
  lock = false,
): Promise<ObjectRow | undefined> {
  const [row, second] = await find(tx, reference.table, keyOf(reference), lock);
  if (second !== undefined) {
    const { kind, text, path } = reference;
    throw new Fault(
      "INVALID_ARGUMENT",
      "NAME_AMBIGUOUS",
      `${path}: several tenants have a ${kind} ${text}; say whose in the field tenant, or give the id`,
      { next: `holdfast get ${kind}s` },
    );
  }
  // An id of another owner than the one that was named does not exist there.
  const { tenantId } = reference;
  return tenantId === undefined || row?.tenantId === tenantId ? row : undefined;
}

/** The object. Throws NOT_FOUND. With `lock` nobody else changes it before this transaction ends. */
export async function resolve(tx: Tx, reference: Reference, lock = false): Promise<ObjectRow> {
  const row = await lookUp(tx, reference, lock);
  if (row === undefined) throw notFound(reference);
  return row;
}

/** The tenant's id; undefined where none was named. */
export async function tenantIdOf(tx: Tx, text: string, path: string): Promise<string | undefined> {
  if (text === "") return undefined;
  const row = await resolve(tx, { kind: "tenant", table: TENANTS, text, path });
  return row.id;
}

/** Owner of a new or named object: the named tenant, else the caller's own, else the vendor. */
export async function ownerIdOf(tx: Tx, text: string, path: string): Promise<string> {
  const named = await tenantIdOf(tx, text, path);
  if (named !== undefined) return named;
  const { tenantLo, tenantHi } = tx.context;
  return tenantLo === tenantHi ? tenantLo : NIL_UUID;
}
