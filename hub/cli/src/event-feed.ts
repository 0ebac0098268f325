/** Events of the hub: the latest ones, and those that come, resumed where a connection broke. */
import type { JsonObject } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { EventOrder, EventSchema, EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { escapeControls } from "@holdfast/shared/text.ts";
import { type Change, changesOf, changeText } from "./changes.ts";
import { follow } from "./follow.ts";
import { at, textAt } from "./format.ts";
import type { HubClient } from "./hub-client.ts";
import type { Sensitive } from "./sensitive.ts";
import type { Terminal } from "./terminal.ts";

export type EventView = JsonObject;
export type EventQuery = Readonly<{ tenant?: string | undefined; subject?: string | undefined }>;

const PAGE_SIZE = 500;
const CHANGES_SHOWN_MAX = 2;
/** What the hub keeps of an object in its events. */
const CHANGE_PLACES = ["spec", "labels", "annotations"];

export type Latest = Readonly<{
  count: number;
  sinceMs?: number | undefined;
  /** Only what somebody asked for; not what agents report. */
  isChangesOnly?: boolean;
}>;

/** Objects that were made, changed or deleted, on somebody's behalf. */
export function isChange(event: EventView): boolean {
  return /\.(created|updated|deleted)$/.test(textAt(event, "type"));
}

/** The last events, newest first, and where to go on from there. */
export async function latestEvents(
  hub: HubClient,
  { tenant = "", subject = "" }: EventQuery,
  { count, sinceMs = Number.NEGATIVE_INFINITY, isChangesOnly = false }: Latest,
): Promise<Readonly<{ events: readonly EventView[]; token: string }>> {
  const client = hub.client(EventService);
  const order = EventOrder.NEWEST_FIRST;
  const events: EventView[] = [];
  let token = "";
  for (let pageToken = ""; ; ) {
    const pageSize = isChangesOnly ? PAGE_SIZE : Math.min(PAGE_SIZE, count);
    const request = { pageSize, pageToken, tenant, subject, order };
    const answer = await hub.call(() => client.listEvents(request));
    if (pageToken === "") token = answer.watchToken;
    const views = answer.events.map((event) => toJson(EventSchema, event) as JsonObject);
    const recent = views.filter((each) => !(timeOf(each) < sinceMs));
    events.push(...(isChangesOnly ? recent.filter(isChange) : recent));
    const isEnd = views.length < pageSize || recent.length < views.length;
    if (isEnd || events.length >= count) return { events: events.slice(0, count), token };
    pageToken = answer.nextPageToken;
  }
}

function timeOf(event: EventView): number {
  return Date.parse(textAt(event, "time"));
}

/** Calls `seen` for each event from the token on until the signal; reconnects by itself. */
export async function followEvents(
  terminal: Terminal,
  hub: HubClient,
  { tenant = "", subject = "" }: EventQuery,
  from: string,
  seen: (event: EventView) => void,
): Promise<void> {
  const client = hub.client(EventService);
  await follow(
    terminal,
    hub,
    from,
    (pageToken, options) => client.watchEvents({ pageToken, tenant, subject }, options),
    ({ event }) => {
      if (event !== undefined) seen(toJson(EventSchema, event) as JsonObject);
    },
  );
}

/** Time, type, subject, tenant, who, why and what, in one line of fixed columns. */
export async function eventLine(event: EventView, sensitive: Sensitive): Promise<string> {
  const time = textAt(event, "time").slice(0, 19).replace("T", " ");
  const tenant = textAt(event, "tenant");
  const reason = textAt(event, "reason");
  const parts = [
    time.padEnd(19),
    textAt(event, "type").padEnd(26),
    subjectOf(event).padEnd(28),
    (tenant === "-" ? "" : tenant).padEnd(12),
    `by ${textAt(event, "principal")}`,
    [reason === "-" ? "" : reason, await whatChanged(event, sensitive)]
      .filter((each) => each !== "")
      .join(": "),
  ];
  return parts.join("  ").trimEnd();
}

/** Conditions by their type, as an agent reported them before and now. */
function conditionsText(before: JsonObject, after: JsonObject): string {
  const said = Object.keys(after).map((type) => {
    const [was, is] = [at(before, `${type}.status`), at(after, `${type}.status`)];
    const reason = textAt(after, `${type}.reason`);
    return was === is ? `${type}: ${reason}` : `${type}: ${was ?? "nothing"} -> ${is} ${reason}`;
  });
  return escapeControls(said.join(", "));
}

/** What became of what, in a few words; -o json has all of it. */
export async function whatChanged(event: EventView, sensitive: Sensitive): Promise<string> {
  const [before, after] = [at(event, "before"), at(event, "after")] as (JsonObject | undefined)[];
  if (before === undefined || after === undefined) return "";
  if (textAt(event, "type").endsWith(".condition_changed")) return conditionsText(before, after);
  const all = changesOf(before, after, CHANGE_PLACES);
  const changes: readonly Change[] = await sensitive.hide(all, before, after);
  const shownOnes = changes.slice(0, CHANGES_SHOWN_MAX).map(changeText);
  const more = changes.length - shownOnes.length;
  return [...shownOnes, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

function subjectOf(event: EventView): string {
  const name = textAt(event, "subjectName");
  const subject = textAt(event, "subject");
  return name === "-" ? subject : `${subject.split("/")[0] ?? ""}/${name}`;
}
