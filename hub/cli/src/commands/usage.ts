/** `holdfast usage`: what tenants used, by meter and seat. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UsageLineSchema, UsageService } from "@holdfast/proto/holdfast/api/v1/usage_pb.js";
import { ageOf, at, textAt } from "../format.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { timeOption } from "../time-option.ts";

export type UsageOptions = HubOptions &
  Readonly<{ meter?: string; since?: string; until?: string }>;

const PAGE_SIZE = 500;
const LINES_MAX = 100_000;
const HEADER = [
  "TENANT",
  "METER",
  "QUANTITY",
  "UNIT",
  "SEAT",
  "INSTANCE",
  "RECORDS",
  "GAPS",
  "LAST",
];

export async function usage(terminal: Terminal, options: UsageOptions): Promise<void> {
  const now = terminal.clock.now();
  const startMs = timeOption("--since", options.since, now);
  const endMs = timeOption("--until", options.until, now);
  await withHub(terminal, options, async (hub) => {
    const client = hub.client(UsageService);
    const lines: JsonObject[] = [];
    for (let pageToken = ""; lines.length < LINES_MAX; ) {
      const request = {
        tenant: hub.context.tenant ?? "",
        meter: options.meter ?? "",
        pageSize: PAGE_SIZE,
        pageToken,
        ...(startMs !== undefined && { startTime: timestampFromMs(startMs) }),
        ...(endMs !== undefined && { endTime: timestampFromMs(endMs) }),
      };
      const answer = await hub.call(() => client.queryUsage(request));
      lines.push(...answer.lines.map((line) => toJson(UsageLineSchema, line) as JsonObject));
      pageToken = answer.nextPageToken;
      if (pageToken === "") break;
    }
    await print(terminal, lines, options, now);
  });
}

async function print(
  terminal: Terminal,
  lines: readonly JsonObject[],
  { output = "table" }: UsageOptions,
  now: number,
): Promise<void> {
  if (output === "json") terminal.out(jsonText({ lines: [...lines] }));
  else if (output === "yaml") terminal.out(await yamlText({ lines: [...lines] }));
  else if (output === "name") {
    terminal.out(
      lines.map((line) => `${textAt(line, "seat")}/${textAt(line, "meter")}\n`).join(""),
    );
  } else if (lines.length === 0) terminal.err("no usage\n");
  else {
    const rows = lines.map((line) => [
      textAt(line, "tenant"),
      textAt(line, "meter"),
      String(at(line, "quantity") ?? 0),
      textAt(line, "unit"),
      textAt(line, "seat"),
      textAt(line, "instance"),
      String(at(line, "records") ?? 0),
      String(at(line, "gaps") ?? 0),
      ageOf(at(line, "lastTime"), now),
    ]);
    terminal.out(tableText(terminal, HEADER, rows));
  }
}
