/** Log lines of instances that the caller may see: pages of them, and a stream that goes on as they arrive. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  LogOrder,
  LogRecordSchema,
  MissingRecordSchema,
  type QueryLogsRequest,
  type QueryLogsResponse,
  QueryLogsResponseSchema,
  type TailLogsRequest,
  type TailLogsResponse,
  TailLogsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { escapeLine } from "@holdfast/shared/text.ts";
import type { LogPosition, LogQuery, StoredLine, StoredMissing } from "../../telemetry/port.ts";
import type { Call } from "../caller.ts";
import type { AppDeps } from "../deps.ts";
import { read } from "../mutation.ts";
import { LIST_ROWS_MAX, pageSizeOf, pageToken, readPageToken } from "../page.ts";
import { type PlaceQuery, type Places, placesOf } from "./places.ts";
import { rangeOf } from "./range.ts";

const MISSING_MAX = 200;
/** The contract's sign of life; who may see what is looked at again as often. */
const SIGN_OF_LIFE_MS = 15_000;
/** Lines that come close together travel together. */
const GATHER_MS = 100;
/** How long ago something may have got lost that is told of only now. */
const LATE_MS_MAX = 600_000;
const ALWAYS = { startMs: 0, endMs: Number.MAX_SAFE_INTEGER };

type Position = Readonly<{ at: LogPosition | null; endMs: number }>;

export async function queryLogs(
  deps: AppDeps,
  call: Call,
  request: QueryLogsRequest,
): Promise<QueryLogsResponse> {
  const given = rangeOf(request, { startMs: 0, endMs: deps.clock.now() });
  const { resource, contains, order } = request;
  const newestFirst = order === LogOrder.NEWEST_FIRST;
  const ends = request.endTime === undefined ? "" : given.endMs;
  const query = [...keyOf("logs", request), given.startMs, ends, newestFirst];
  const token = readPageToken(deps.pageKey, { call, query }, request.pageToken) as
    | Position
    | undefined;
  // All pages are of one range: without an end the first page's time is kept.
  const range = { startMs: given.startMs, endMs: token?.endMs ?? given.endMs };
  const { places, names } = await read(deps, call, (tx) => placesOf(tx, request));
  const { vendorId } = call.caller;
  const asked = { vendorId, places, resource, ...range };
  const page = await deps.telemetry.logs({
    ...{ ...asked, contains, newestFirst, limit: pageSizeOf(request.pageSize) },
    after: token?.at ?? undefined,
  });
  const isFirst = token === undefined;
  const missing = isFirst ? await deps.telemetry.missing({ ...asked, limit: MISSING_MAX }) : [];
  const next: Position = { at: page.position ?? null, endMs: range.endMs };
  return create(QueryLogsResponseSchema, {
    lines: page.lines.map((line) => recordOf(line, names)),
    missing: [...missing, ...page.damaged].map((note) => missingOf(note, names)),
    nextPageToken: page.more ? pageToken(deps.pageKey, { call, query }, next) : "",
    ...(page.keptSinceMs !== undefined && { keptSince: timestampFromMs(page.keptSinceMs) }),
  });
}

type TailPosition = Readonly<{ at: LogPosition | null; toldMs: number }>;

/** Ends when the caller goes, or may no longer see what was asked for. */
export async function* tailLogs(
  deps: AppDeps,
  call: Call,
  request: TailLogsRequest,
): AsyncIterable<TailLogsResponse> {
  const query = keyOf("tail", request);
  const token = readPageToken(deps.pageKey, { call, query }, request.pageToken) as
    | TailPosition
    | undefined;
  const tail = new Tail(deps, call, request, token);
  const bell = new Doorbell(deps.clock);
  const ring = () => bell.ring();
  call.signal.addEventListener("abort", ring, { once: true });
  let stop = () => {};
  try {
    for (let places = await tail.begin(); !call.signal.aborted; places = await tail.look()) {
      stop();
      stop = deps.telemetry.listen(call.caller.vendorId, new Set(places.names.keys()), ring);
      const untilMs = deps.clock.monotonic() + SIGN_OF_LIFE_MS;
      let isFirst = true;
      for (let leftMs = SIGN_OF_LIFE_MS; leftMs > 0 && !call.signal.aborted; ) {
        const { lines, missing, more } = await tail.next(places);
        // The first answer says at once where to go on.
        if (isFirst || lines.length + missing.length > 0) {
          const at = pageToken(deps.pageKey, { call, query }, tail.position());
          yield create(TailLogsResponseSchema, { lines, missing, pageToken: at });
        }
        isFirst = false;
        leftMs = untilMs - deps.clock.monotonic();
        if (more || leftMs <= 0) continue;
        await bell.wait(leftMs);
        if (!call.signal.aborted) await deps.clock.sleep(GATHER_MS, call.signal);
        leftMs = untilMs - deps.clock.monotonic();
      }
    }
  } finally {
    stop();
    call.signal.removeEventListener("abort", ring);
  }
}

/** Where one follower is. */
class Tail {
  readonly #deps: AppDeps;
  readonly #call: Call;
  readonly #request: TailLogsRequest;
  readonly #startMs: number;
  #at: LogPosition | undefined;
  #toldMs: number;
  #told = new Set<string>();

  constructor(
    deps: AppDeps,
    call: Call,
    request: TailLogsRequest,
    token: TailPosition | undefined,
  ) {
    this.#deps = deps;
    this.#call = call;
    this.#request = request;
    this.#startMs = token === undefined ? rangeOf(request, ALWAYS).startMs : 0;
    this.#at = token?.at ?? undefined;
    this.#toldMs = token?.toldMs ?? deps.clock.now();
  }

  /** Without a token or a time to begin at, from now on. */
  async begin(): Promise<Places> {
    const places = await this.look();
    const { pageToken: token, startTime } = this.#request;
    if (token === "" && startTime === undefined) {
      this.#at = await this.#deps.telemetry.end(this.#call.caller.vendorId);
    }
    // What was told of before this follower came is not news.
    const notes = await this.#notes(places);
    this.#told = new Set(notes.filter(({ lastMs }) => lastMs < this.#toldMs).map(nameOf));
    return places;
  }

  look(): Promise<Places> {
    return read(this.#deps, this.#call, (tx) => placesOf(tx, this.#request));
  }

  async next(places: Places) {
    const { resource, contains } = this.#request;
    const query: LogQuery = {
      vendorId: this.#call.caller.vendorId,
      ...{ places: places.places, resource, contains, ...ALWAYS, startMs: this.#startMs },
      ...{ newestFirst: false, after: this.#at, limit: LIST_ROWS_MAX },
    };
    const page = await this.#deps.telemetry.logs(query);
    this.#at = page.position ?? this.#at;
    const notes = await this.#notes(places);
    const news = [...notes.filter((note) => !this.#told.has(nameOf(note))), ...page.damaged];
    this.#toldMs = this.#deps.clock.now();
    this.#told = new Set(notes.map(nameOf));
    return {
      lines: page.lines.map((line) => recordOf(line, places.names)),
      missing: news.map((note) => missingOf(note, places.names)),
      more: page.more,
    };
  }

  position(): TailPosition {
    return { at: this.#at ?? null, toldMs: this.#toldMs };
  }

  #notes({ places }: Places): Promise<readonly StoredMissing[]> {
    const { resource } = this.#request;
    const startMs = this.#toldMs - LATE_MS_MAX;
    const { vendorId } = this.#call.caller;
    const query = { vendorId, places, resource, ...ALWAYS, startMs, limit: MISSING_MAX };
    return this.#deps.telemetry.missing(query);
  }
}

function nameOf({ instanceId, resource, reason, count, bytes, firstMs }: StoredMissing): string {
  return [instanceId, resource, reason, count, bytes, firstMs].join("/");
}

function keyOf(what: string, request: PlaceQuery & { resource: string; contains: string }) {
  const { instance, cell, tenant, resource, contains } = request;
  return [what, instance, cell, tenant, resource, contains];
}

function recordOf(line: StoredLine, names: ReadonlyMap<string, string>) {
  return create(LogRecordSchema, {
    time: timestampFromMs(line.timeMs),
    instance: names.get(line.instanceId) ?? "",
    resource: line.resource,
    // What the agent puts behind it tells logs of the same name apart.
    copy: line.copy.split("~", 1)[0] ?? "",
    // The agent has escaped it, if it is an agent of ours.
    text: escapeLine(line.text),
    cutBytes: BigInt(line.cutBytes),
  });
}

function missingOf(note: StoredMissing, names: ReadonlyMap<string, string>) {
  return create(MissingRecordSchema, {
    class: note.class,
    instance: names.get(note.instanceId) ?? "",
    resource: note.resource,
    reason: note.reason,
    count: BigInt(note.count),
    bytes: BigInt(note.bytes),
    startTime: timestampFromMs(note.firstMs),
    endTime: timestampFromMs(note.lastMs),
  });
}
