/**
 * The standard methods of every kind of object (get, list, create, update, delete), written once. A kind says
 * what its messages mean; everything that callers rely on everywhere is here: paging, etags, request ids,
 * validate_only, allow_missing, labels, soft deletion, one event for each change.
 */
import { isDeepStrictEqual } from "node:util";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Metadata } from "@holdfast/proto/holdfast/api/v1/metadata_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { type IdKind, NIL_UUID } from "@holdfast/shared/ids.ts";
import {
  type Condition,
  end,
  type Fields,
  insert,
  type ObjectRow,
  type ObjectTable,
  page,
  replace,
  setLabels,
} from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import type { Call } from "./caller.ts";
import { type AppDeps, newId } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { filterOf, orderOf } from "./list-query.ts";
import { checkEtag, eventView, type ObjectMessage } from "./metadata.ts";
import { read } from "./mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { lookUp, notFound, ownerIdOf, type Reference, resolve, tenantIdOf } from "./reference.ts";
import { checkNotReserved } from "./reserved-names.ts";

/** A change in progress. */
export type Work = Readonly<{ deps: AppDeps; call: Call; tx: Tx }>;

/** What a message is written to: an existing row or a new id. */
export type Target = Readonly<{
  id: string;
  tenantId: string;
  row: ObjectRow | undefined;
}>;

export type Kind<M extends ObjectMessage> = Readonly<{
  kind: IdKind;
  schema: GenMessage<M>;
  table: ObjectTable;
  /** Vendor-level kinds have no tenant; kinds of tenants need one. */
  owner: "vendor" | "tenant" | "either";
  /** The messages of rows, in their order. */
  view(tx: Tx, rows: readonly ObjectRow[]): Promise<readonly M[]>;
  /**
   * Columns for what the message asks for; equal to those of the target's row where nothing changes.
   * Throws what is wrong with the message.
   */
  own(work: Work, message: M, target: Target): Promise<Fields>;
  /** What is not a column: whether the message asks for a change of it. */
  isChanged?(work: Work, message: M, row: ObjectRow): Promise<boolean>;
  /** After the row was written: what belongs to it in other tables. */
  written?(work: Work, row: ObjectRow, message: M, isSpecChange: boolean): Promise<void>;
  /** What a deleted one still waits for; may refuse. Removes what belongs to it. */
  ending?(work: Work, row: ObjectRow): Promise<readonly string[]>;
}>;

export type ListPage<M> = Readonly<{ items: M[]; nextPageToken: string }>;

function referenceTo<M extends ObjectMessage>(
  { kind, table }: Kind<M>,
  text: string,
  tenantId?: string,
): Reference {
  return { kind, table, text, path: kind, tenantId };
}

export type Asked = Readonly<{ text: string; tenant?: string }>;

export function getObject<M extends ObjectMessage>(
  deps: AppDeps,
  call: Call,
  kind: Kind<M>,
  asked: Asked,
): Promise<M> {
  return read(deps, call, async (tx) => {
    const tenantId = await tenantIdOf(tx, asked.tenant ?? "", "tenant");
    const reference = referenceTo(kind, asked.text, tenantId);
    return viewOne(tx, kind, await resolve(tx, reference));
  });
}

export type ListQuery = Readonly<{
  pageSize: number;
  pageToken: string;
  tenant?: string;
  labels?: Readonly<Record<string, string>>;
  filter?: string;
  orderBy?: string;
}>;

/** What a kind's list can be asked for besides owner and labels. */
export type Narrowing = Readonly<{
  /** As the caller asked; a page token holds for nothing else. */
  asked: readonly string[];
  conditions(tx: Tx): Promise<readonly Condition[]>;
  /** Own columns that must have these values. */
  equal?(tx: Tx): Promise<Fields>;
}>;

const EVERYTHING: Narrowing = { asked: [], conditions: async () => [] };

export function listObjects<M extends ObjectMessage>(
  deps: AppDeps,
  call: Call,
  kind: Kind<M>,
  query: ListQuery,
  narrowing: Narrowing = EVERYTHING,
): Promise<ListPage<M>> {
  const { tenant = "", filter: filterText = "", orderBy = "" } = query;
  const { labels, conditions: filters } = filterOf(filterText, query.labels);
  const order = orderOf(orderBy);
  const asked = [
    ...[kind.kind, tenant, Object.entries(query.labels ?? {}).sort()],
    ...[filterText, order, ...narrowing.asked],
  ];
  const binding = { call, query: asked };
  const position = readPageToken(deps.pageKey, binding, query.pageToken);
  const [name, id] = (position ?? []) as string[];
  const size = pageSizeOf(query.pageSize);
  return read(deps, call, async (tx) => {
    const tenantId = await tenantIdOf(tx, tenant, "tenant");
    const after = name === undefined || id === undefined ? undefined : { name, id };
    const conditions = [...filters, ...(await narrowing.conditions(tx))];
    const equal = (await narrowing.equal?.(tx)) ?? {};
    const rows = await page(tx, kind.table, {
      ...{ limit: size, after, order, tenantId, labels },
      ...{ conditions, equal },
    });
    // A full page may be the last one; the next one is then empty.
    const last = rows.length === size ? rows.at(-1) : undefined;
    const nextPageToken =
      last === undefined ? "" : pageToken(deps.pageKey, binding, [last.name, last.id]);
    return { items: [...(await kind.view(tx, rows))], nextPageToken };
  });
}

/** Throws ALREADY_EXISTS `NAME_TAKEN`. */
export async function createObject<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  message: M,
): Promise<M> {
  const tenantId = await ownerOf(work, kind, message);
  const reference = referenceTo(kind, metadataIn(message).name, tenantId);
  if ((await lookUp(work.tx, reference)) !== undefined) throw nameTaken(reference);
  return write(work, kind, message, tenantId);
}

/** Throws NOT_FOUND (unless `allowMissing`), ABORTED `ETAG_MISMATCH`, FAILED_PRECONDITION `DELETED`. */
export async function updateObject<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  message: M,
  allowMissing: boolean,
): Promise<M> {
  const { tx } = work;
  const metadata = metadataIn(message);
  const tenantId = await ownerOf(work, kind, message);
  // A tenant's row lies in the tenant's own range, which its name does not tell.
  const range = kind.kind === "tenant" ? undefined : tenantId;
  const reference = referenceTo(kind, metadata.name, range);
  const row = await lookUp(tx, reference, true);
  if (row !== undefined) return rewrite(work, kind, message, row);
  if (allowMissing && metadata.etag === "") return write(work, kind, message, tenantId);
  throw notFound(reference);
}

export type Deletion = Asked & Readonly<{ etag: string }>;

/** A second deletion of what is on its way out changes nothing. */
export async function deleteObject<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  asked: Deletion,
): Promise<M> {
  const { tx } = work;
  const tenantId = await tenantIdOf(tx, asked.tenant ?? "", "tenant");
  const row = await resolve(tx, referenceTo(kind, asked.text, tenantId), true);
  checkEtag(kind.kind, row, asked.etag);
  if (row.deletedAt !== undefined) return viewOne(tx, kind, row);
  return endRow(work, kind, row);
}

/** Marks a locked row as deleted; with nothing to wait for it is gone at once. */
export async function endRow<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  row: ObjectRow,
): Promise<M> {
  const { tx, deps, call } = work;
  const before = await viewOne(tx, kind, row);
  const finalizers = (await kind.ending?.(work, row)) ?? [];
  await end(tx, kind.table, { tenantId: row.tenantId, id: row.id, finalizers });
  const now = deps.clock.now();
  // What is gone cannot be read again, so the answer is made of what was written.
  const ended = { ...row, revision: row.revision + 1n, deletedAt: new Date(now), finalizers };
  await record(tx, actorOf(call), now, {
    verb: "deleted",
    kind: kind.kind,
    subject: ended,
    before: eventView(kind.schema, before),
  });
  return viewOne(tx, kind, ended);
}

export async function viewOne<M extends ObjectMessage>(
  tx: Tx,
  kind: Kind<M>,
  row: ObjectRow,
): Promise<M> {
  const [message] = await kind.view(tx, [row]);
  if (message === undefined) throw new RangeError(`no view of ${kind.kind}`);
  return message;
}

async function write<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  message: M,
  tenantId: string,
): Promise<M> {
  const { tx, deps, call } = work;
  const { name, labels, annotations } = metadataIn(message);
  checkNotReserved(kind.kind, name);
  const id = newId(deps.clock);
  // A tenant is its own range.
  const target = { id, tenantId: kind.kind === "tenant" ? id : tenantId, row: undefined };
  const fields = await kind.own(work, message, target);
  const reference = referenceTo(kind, name, target.tenantId);
  try {
    await insert(tx, kind.table, { ...target, name, annotations, fields });
  } catch (error) {
    const isTaken = error instanceof Fault && error.code === "ALREADY_EXISTS";
    throw isTaken ? nameTaken(reference) : error;
  }
  if (Object.keys(labels).length > 0) await setLabels(tx, kind.table, target, labels);
  const inserted = await resolve(tx, reference);
  await kind.written?.(work, inserted, message, true);
  const row = kind.written === undefined ? inserted : await resolve(tx, reference);
  const after = await viewOne(tx, kind, row);
  await record(tx, actorOf(call), deps.clock.now(), {
    verb: "created",
    kind: kind.kind,
    subject: row,
    after: eventView(kind.schema, after),
  });
  return after;
}

async function rewrite<M extends ObjectMessage>(
  work: Work,
  kind: Kind<M>,
  message: M,
  row: ObjectRow,
): Promise<M> {
  const { tx, deps, call } = work;
  const { labels, annotations, etag } = metadataIn(message);
  checkEtag(kind.kind, row, etag);
  if (row.deletedAt !== undefined) throw leaving(kind.kind, row);
  const { id, tenantId, revision } = row;
  const own = await kind.own(work, message, { id, tenantId, row });
  const isSpecChange =
    !isSameOwn(row, own) || ((await kind.isChanged?.(work, message, row)) ?? false);
  const isSame =
    !isSpecChange &&
    isDeepStrictEqual({ ...row.labels }, { ...labels }) &&
    isDeepStrictEqual({ ...row.annotations }, { ...annotations });
  const before = await viewOne(tx, kind, row);
  if (isSame) return before;
  await replace(tx, kind.table, {
    id,
    tenantId,
    revision,
    annotations,
    specChanged: isSpecChange,
    fields: own,
  });
  if (!isDeepStrictEqual({ ...row.labels }, { ...labels })) {
    await setLabels(tx, kind.table, row, labels);
  }
  const reference = referenceTo(kind, row.name, tenantId);
  const replaced = await resolve(tx, reference);
  await kind.written?.(work, replaced, message, isSpecChange);
  const changed = kind.written === undefined ? replaced : await resolve(tx, reference);
  const after = await viewOne(tx, kind, changed);
  await record(tx, actorOf(call), deps.clock.now(), {
    verb: "updated",
    kind: kind.kind,
    subject: changed,
    before: eventView(kind.schema, before),
    after: eventView(kind.schema, after),
  });
  return after;
}

function isSameOwn(row: ObjectRow, own: Fields): boolean {
  return Object.entries(own).every(([column, value]) =>
    isDeepStrictEqual(plain(row.fields[column]), plain(value)),
  );
}

/** As the database gives it back: no undefined, no prototypes. */
function plain(value: unknown): unknown {
  if (value === undefined || value === null) return null;
  return typeof value === "object" && !(value instanceof Date) && !(value instanceof Uint8Array)
    ? JSON.parse(JSON.stringify(value))
    : value;
}

async function ownerOf<M extends ObjectMessage>(
  { tx }: Work,
  { kind, owner }: Kind<M>,
  message: M,
): Promise<string> {
  const { tenant } = metadataIn(message);
  const path = `${kind}.metadata.tenant`;
  if (owner === "vendor") {
    if (tenant === "") return NIL_UUID;
    throw ownerRefused(path, `a ${kind} belongs to the vendor; leave it empty`);
  }
  const id = await ownerIdOf(tx, tenant, path);
  if (owner === "tenant" && id === NIL_UUID) {
    throw ownerRefused(path, `a ${kind} belongs to a tenant; name it`);
  }
  return id;
}

function leaving(kind: IdKind, { name }: ObjectRow): Fault {
  return new Fault("FAILED_PRECONDITION", "DELETED", `${kind} ${name}: it is being deleted`, {
    next: `holdfast describe ${kind} ${name}`,
  });
}

function ownerRefused(path: string, message: string): Fault {
  return new Fault("INVALID_ARGUMENT", "OWNER_REFUSED", `${path}: ${message}`, {
    violations: [{ path, message }],
  });
}

function nameTaken({ kind, text }: Reference): Fault {
  return new Fault("ALREADY_EXISTS", "NAME_TAKEN", `${kind} ${text}: the name is taken`, {
    next: `holdfast get ${kind} ${text}`,
  });
}

function metadataIn(message: ObjectMessage): Metadata {
  const { metadata } = message;
  if (metadata !== undefined) return metadata;
  throw new Fault("INVALID_ARGUMENT", "REQUEST_INVALID", "metadata: required");
}
