/** Events of the hub: the latest ones, and those that come, resumed where a connection broke. */
import type { JsonObject } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import {
  EventSchema,
  EventService,
  type WatchEventsResponse,
} from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { textAt } from "./format.ts";
import type { HubClient } from "./hub-client.ts";
import type { Terminal } from "./terminal.ts";

export type EventView = JsonObject;
export type EventQuery = Readonly<{ tenant?: string | undefined; subject?: string | undefined }>;

const PAGE_SIZE = 500;
/** Reading more pages than this for a few last lines would cost the hub too much. */
const PAGES_MAX = 40;
const RECONNECT = { baseMs: 200, capMs: 5_000 };
/** The hub gives a sign of life every 15 s. */
const SILENCE_MS_MAX = 45_000;

/** The last `count` events, oldest first, and where to go on. */
export async function latestEvents(
  hub: HubClient,
  query: EventQuery,
  count: number,
): Promise<Readonly<{ events: readonly EventView[]; token: string }>> {
  const client = hub.client(EventService);
  const { tenant = "", subject = "" } = query;
  let events: EventView[] = [];
  let pageToken = "";
  for (let page = 0; page < PAGES_MAX; page++) {
    const request = { pageSize: PAGE_SIZE, pageToken, tenant, subject };
    const answer = await hub.call(() => client.listEvents(request));
    const views = answer.events.map((event) => toJson(EventSchema, event) as JsonObject);
    events = [...events, ...views].slice(-count);
    pageToken = answer.nextPageToken;
    if (answer.events.length === 0) break;
  }
  return { events, token: pageToken };
}

/** Calls `seen` for each event from the token on until the signal; reconnects by itself. */
export async function followEvents(
  terminal: Terminal,
  hub: HubClient,
  query: EventQuery,
  from: string,
  seen: (event: EventView) => void,
): Promise<void> {
  const client = hub.client(EventService);
  let token = from;
  for (let failures = 0; !terminal.signal.aborted; ) {
    const silence = new AbortController();
    const stop = () => silence.abort();
    terminal.signal.addEventListener("abort", stop, { once: true });
    const { tenant = "", subject = "" } = query;
    try {
      await hub.call(async () => {
        const options = { signal: silence.signal, timeoutMs: 0 };
        const stream = client.watchEvents({ pageToken: token, tenant, subject }, options);
        for await (const answer of guarded(stream, terminal, silence)) {
          failures = 0;
          token = answer.pageToken === "" ? token : answer.pageToken;
          if (answer.event !== undefined) seen(toJson(EventSchema, answer.event) as JsonObject);
        }
      });
    } catch (error) {
      if (terminal.signal.aborted) return;
      const isPassing =
        error instanceof Fault && ["UNAVAILABLE", "CANCELLED", "INTERNAL"].includes(error.code);
      if (!isPassing) throw error;
      if (failures === 0) terminal.err(`${error.message}; trying again\n`);
    } finally {
      terminal.signal.removeEventListener("abort", stop);
    }
    await terminal.clock.sleep(fullJitter(RECONNECT, failures, terminal.random), terminal.signal);
    failures += 1;
  }
}

/** Ends a stream that shows no sign of life. */
async function* guarded(
  stream: AsyncIterable<WatchEventsResponse>,
  { clock }: Terminal,
  silence: AbortController,
): AsyncGenerator<WatchEventsResponse> {
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const heard = new AbortController();
    void clock.sleep(SILENCE_MS_MAX, heard.signal).then(() => {
      if (!heard.signal.aborted) silence.abort();
    });
    try {
      const next = await iterator.next();
      if (next.done) return;
      yield next.value;
    } finally {
      heard.abort();
    }
  }
}

/** Time, type, subject, tenant, who and why, in one line of fixed columns. */
export function eventLine(event: EventView): string {
  const time = textAt(event, "time").slice(0, 19).replace("T", " ");
  const tenant = textAt(event, "tenant");
  const reason = textAt(event, "reason");
  const parts = [
    time.padEnd(19),
    textAt(event, "type").padEnd(26),
    subjectOf(event).padEnd(28),
    (tenant === "-" ? "" : tenant).padEnd(12),
    `by ${textAt(event, "principal")}`,
    reason === "-" ? "" : reason,
  ];
  return parts.join("  ").trimEnd();
}

function subjectOf(event: EventView): string {
  const name = textAt(event, "subjectName");
  const subject = textAt(event, "subject");
  return name === "-" ? subject : `${subject.split("/")[0] ?? ""}/${name}`;
}
