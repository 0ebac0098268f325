/** The event feed: pages of it, and a stream that goes on as events are sequenced. Staff read the vendor's feed, a tenant its own chain. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Event,
  EventOrder,
  EventSchema,
  type ListEventsRequest,
  type ListEventsResponse,
  ListEventsResponseSchema,
  type WatchEventsRequest,
  type WatchEventsResponse,
  WatchEventsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { ID_PREFIXES, type IdKind, idOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as events from "../store/events.ts";
import * as objectTables from "../store/object-tables.ts";
import { namesOf } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import { type Call, isStaff } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { read } from "./mutation.ts";
import { LIST_ROWS_MAX, pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { resolve, tenantIdOf } from "./reference.ts";
import { refuse } from "./refusal.ts";

/** The contract's sign of life. */
export const SIGN_OF_LIFE_MS = 15_000;

type Query = Readonly<{ tenant: string; subject: string }>;
type Filter = Readonly<{ of: events.EventQuery["of"]; subjectId: string | undefined }>;

export function listEvents(
  deps: AppDeps,
  call: Call,
  request: ListEventsRequest,
): Promise<ListEventsResponse> {
  if (request.order === EventOrder.NEWEST_FIRST) return listBack(deps, call, request);
  const after = positionIn(deps, call, request, request.pageToken) ?? 0n;
  return read(deps, call, async (tx) => {
    const filter = await filterOf(tx, call, request);
    const limit = pageSizeOf(request.pageSize);
    const rows = await events.list(tx, { ...filter, after, limit });
    return create(ListEventsResponseSchema, {
      events: await viewsOf(tx, rows),
      nextPageToken: tokenAt(deps, call, request, positionAfter(filter, rows) ?? after),
    });
  });
}

/** The newest first. Where it began is kept in the watch token, so that nothing is missed between list and watch. */
function listBack(
  deps: AppDeps,
  call: Call,
  request: ListEventsRequest,
): Promise<ListEventsResponse> {
  const back = { call, query: [...bindingOf(call, request).query, "newest first"] };
  const before = readPageToken(deps.pageKey, back, request.pageToken);
  return read(deps, call, async (tx) => {
    const filter = await filterOf(tx, call, request);
    const newest = await events.newest(tx, filter.of);
    const after = before === undefined ? newest + 1n : BigInt(String(before));
    const limit = pageSizeOf(request.pageSize);
    const rows = await events.list(tx, { ...filter, after, newestFirst: true, limit });
    const next = positionAfter(filter, rows) ?? after;
    return create(ListEventsResponseSchema, {
      events: await viewsOf(tx, rows),
      nextPageToken: pageToken(deps.pageKey, back, next.toString()),
      watchToken: tokenAt(deps, call, request, newest),
    });
  });
}

/** Ends when the caller goes. Without a token only what comes from now on. */
export async function* watchEvents(
  deps: AppDeps,
  call: Call,
  request: WatchEventsRequest,
): AsyncIterable<WatchEventsResponse> {
  const given = positionIn(deps, call, request, request.pageToken);
  const filter = await read(deps, call, (tx) => filterOf(tx, call, request));
  let after = given ?? (await read(deps, call, (tx) => events.newest(tx, filter.of)));
  const bell = new Doorbell(deps.clock);
  const stop = deps.eventsPlaced(call.caller.vendorId, () => bell.ring());
  const end = () => bell.ring();
  call.signal.addEventListener("abort", end, { once: true });
  try {
    yield signOfLife(tokenAt(deps, call, request, after));
    while (!call.signal.aborted) {
      const page = await read(deps, call, async (tx) => {
        const rows = await events.list(tx, { ...filter, after, limit: LIST_ROWS_MAX });
        return { rows, views: await viewsOf(tx, rows) };
      });
      for (const [at, event] of page.views.entries()) {
        after = positionAfter(filter, page.rows.slice(0, at + 1)) ?? after;
        const token = tokenAt(deps, call, request, after);
        yield create(WatchEventsResponseSchema, { event, pageToken: token });
      }
      if (page.rows.length > 0) continue;
      const before = deps.clock.monotonic();
      await bell.wait(SIGN_OF_LIFE_MS);
      if (deps.clock.monotonic() - before >= SIGN_OF_LIFE_MS) {
        yield signOfLife(tokenAt(deps, call, request, after));
      }
    }
  } finally {
    stop();
    call.signal.removeEventListener("abort", end);
  }
}

function signOfLife(token: string): WatchEventsResponse {
  return create(WatchEventsResponseSchema, { pageToken: token });
}

async function filterOf(tx: Tx, call: Call, { tenant, subject }: Query): Promise<Filter> {
  const named = await tenantIdOf(tx, tenant, "tenant");
  const own = isStaff(call.caller) ? undefined : call.caller.tenantId;
  const chain = named ?? own;
  const of = chain === undefined ? "feed" : { chain };
  return { of, subjectId: subject === "" ? undefined : await subjectIdOf(tx, subject, named) };
}

const TABLES = Object.values(objectTables);

async function subjectIdOf(tx: Tx, subject: string, tenantId: string | undefined): Promise<string> {
  const [kind = "", text = "", more] = subject.split("/");
  const table = TABLES.find((each) => each.kind === kind);
  if (table === undefined || text === "" || more !== undefined) {
    const kinds = TABLES.map((each) => each.kind).join(", ");
    throw refuse(
      "subject",
      `got ${shown(subject)}; allowed: KIND/NAME or KIND/ID, kinds ${kinds}`,
      "SUBJECT_MALFORMED",
    );
  }
  const reference = { kind: kind as IdKind, table, text, path: "subject", tenantId };
  return (await resolve(tx, reference)).id;
}

function positionAfter({ of }: Filter, rows: readonly events.EventRow[]): bigint | undefined {
  const last = rows.at(-1);
  return of === "feed" ? last?.feedPosition : last?.position;
}

function bindingOf(call: Call, { tenant, subject }: Query) {
  return { call, query: ["events", tenant, subject] };
}

function tokenAt(deps: AppDeps, call: Call, query: Query, position: bigint): string {
  return pageToken(deps.pageKey, bindingOf(call, query), position.toString());
}

function positionIn(deps: AppDeps, call: Call, query: Query, token: string): bigint | undefined {
  const position = readPageToken(deps.pageKey, bindingOf(call, query), token);
  return position === undefined ? undefined : BigInt(String(position));
}

async function viewsOf(tx: Tx, rows: readonly events.EventRow[]): Promise<Event[]> {
  const tenants = await namesOf(
    tx,
    "tenant",
    rows.map(({ tenantId }) => tenantId),
  );
  return rows.map((row) =>
    create(EventSchema, {
      id: idOf("event", row.id),
      type: row.type,
      subject: `${row.subjectKind}/${subjectId(row)}`,
      subjectName: row.subjectName,
      tenant: tenants.get(row.tenantId) ?? "",
      position: row.position,
      time: timestampFromDate(row.occurredAt),
      principal: row.principal,
      permission: row.permission,
      reason: row.reason,
      ...(row.before === undefined ? {} : { before: row.before as JsonObject }),
      ...(row.after === undefined ? {} : { after: row.after as JsonObject }),
      requestId: row.requestId,
      hash: Buffer.from(row.hash).toString("hex"),
    }),
  );
}

function subjectId({ subjectKind, subjectId: id }: events.EventRow): string {
  return subjectKind in ID_PREFIXES ? idOf(subjectKind as IdKind, id) : id;
}
