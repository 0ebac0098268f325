/** `holdfast logs`: what an instance has printed, from the hub's store; with --follow as it arrives there. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  LogOrder,
  type LogRecord,
  LogRecordSchema,
  type MissingRecord,
  MissingRecordSchema,
  TelemetryService,
} from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { follow } from "../follow.ts";
import type { HubClient } from "../hub-client.ts";
import { lineText, missingText } from "../log-lines.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { timeOption } from "../time-option.ts";

export type LogsOptions = HubOptions &
  Readonly<{
    follow?: boolean;
    since?: string;
    until?: string;
    grep?: string;
    resource?: string;
    limit?: number;
  }>;

const LATEST_DEFAULT = 100;
const SINCE_LIMIT_DEFAULT = 10_000;
const PAGE_SIZE = 500;
/** A search that finds nothing stops here and says so. */
const PAGES_MAX = 1_000;
/** What --follow begins with. */
const FOLLOW_SINCE_MS = 60_000;

type Query = Readonly<{
  instance: string;
  tenant: string;
  resource: string;
  contains: string;
  startMs: number | undefined;
  endMs: number | undefined;
}>;
type Latest = { lines: LogRecord[]; missing: readonly MissingRecord[] };

export async function logs(terminal: Terminal, name: string, options: LogsOptions): Promise<void> {
  const now = terminal.clock.now();
  const startMs = timeOption("--since", options.since, now);
  const endMs = timeOption("--until", options.until, now);
  checkOptions(options);
  await withHub(terminal, options, async (hub) => {
    const query: Query = {
      instance: name,
      tenant: hub.context.tenant ?? "",
      ...{ resource: options.resource ?? "", contains: options.grep ?? "", startMs, endMs },
    };
    if (options.follow === true) {
      await followLogs(
        terminal,
        hub,
        { ...query, startMs: startMs ?? now - FOLLOW_SINCE_MS },
        options,
      );
      const message = "the logs are no longer followed";
      throw new Fault("CANCELLED", "INTERRUPTED", message, { next: `holdfast logs ${name}` });
    }
    const fallback = startMs === undefined ? LATEST_DEFAULT : SINCE_LIMIT_DEFAULT;
    await printLatest(terminal, await latest(hub, query, options.limit ?? fallback), options);
  });
}

function checkOptions({ output, follow: isFollowing, until }: LogsOptions): void {
  const refuse = (message: string) => new Fault("INVALID_ARGUMENT", "USAGE", message);
  if (output === "name") throw refuse("--output: got name; allowed: table, json or yaml");
  if (isFollowing === true && until !== undefined) {
    throw refuse("--follow and --until: what comes now has no end; give one of them");
  }
}

/** Oldest first. */
async function latest(hub: HubClient, query: Query, limit: number): Promise<Latest> {
  const client = hub.client(TelemetryService);
  const { startMs, endMs, ...about } = query;
  const found: Latest = { lines: [], missing: [] };
  let pageToken = "";
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await hub.call(() =>
      client.queryLogs({
        ...{ ...about, pageToken, order: LogOrder.NEWEST_FIRST },
        pageSize: Math.min(PAGE_SIZE, limit - found.lines.length),
        ...(startMs !== undefined && { startTime: timestampFromMs(startMs) }),
        ...(endMs !== undefined && { endTime: timestampFromMs(endMs) }),
      }),
    );
    if (page === 0) found.missing = answer.missing;
    found.lines.push(...answer.lines);
    pageToken = answer.nextPageToken;
    if (pageToken === "" || found.lines.length >= limit) break;
  }
  found.lines.reverse();
  return found;
}

async function printLatest(
  terminal: Terminal,
  { lines, missing }: Latest,
  { output }: LogsOptions,
): Promise<void> {
  const view = {
    lines: lines.map((line) => toJson(LogRecordSchema, line) as JsonObject),
    missing: missing.map((note) => toJson(MissingRecordSchema, note) as JsonObject),
  };
  if (output === "json") terminal.out(jsonText(view));
  else if (output === "yaml") terminal.out(await yamlText(view));
  else {
    for (const note of missing.toReversed()) terminal.err(missingText(note));
    terminal.out(lines.map(lineText).join(""));
    if (lines.length === 0) terminal.err("no lines\n");
  }
}

async function followLogs(
  terminal: Terminal,
  hub: HubClient,
  { startMs = 0, endMs: _, ...about }: Query,
  { output }: LogsOptions,
): Promise<void> {
  const client = hub.client(TelemetryService);
  const startTime = timestampFromMs(startMs);
  await follow(
    terminal,
    hub,
    "",
    (pageToken, options) => client.tailLogs({ ...about, pageToken, startTime }, options),
    async ({ lines, missing }) => {
      if (output === undefined || output === "table") {
        for (const note of missing) terminal.err(missingText(note));
        terminal.out(lines.map(lineText).join(""));
        return;
      }
      const views = [
        ...missing.map((note) => ({ missing: toJson(MissingRecordSchema, note) })),
        ...lines.map((line) => toJson(LogRecordSchema, line)),
      ];
      for (const view of views) {
        // One object in a line, or in a document.
        const text =
          output === "json" ? `${JSON.stringify(view)}\n` : `${await yamlText(view)}---\n`;
        terminal.out(text);
      }
    },
  );
}
