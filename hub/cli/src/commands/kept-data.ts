/** `holdfast kept-data list`: what agents keep of instances and resources that are no more. */
import { toJson } from "@bufbuild/protobuf";
import {
  type KeptData,
  KeptDataSchema,
  KeptDataService,
} from "@holdfast/proto/holdfast/api/v1/kept_data_pb.js";
import { agoText, bytesText, textAt } from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import type { ObjectView } from "../object-calls.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

/** Pages of the hub's largest size. */
const PAGES_MAX = 100;

export type KeptDataOptions = HubOptions & Readonly<{ instance?: string; cell?: string }>;

export async function listKeptData(terminal: Terminal, options: KeptDataOptions): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const views = (await allKept(hub, options)).map(
      (each) => toJson(KeptDataSchema, each) as ObjectView,
    );
    const form = options.output ?? "table";
    if (form === "json") terminal.out(jsonText({ keptData: views }));
    else if (form === "yaml") terminal.out(await yamlText({ keptData: views }));
    else if (form === "name") {
      terminal.out(
        views.map((each) => `${textAt(each, "instanceId")}/${textAt(each, "name")}\n`).join(""),
      );
    } else if (views.length === 0) terminal.err("no kept data\n");
    else {
      const now = terminal.clock.now();
      const head = ["INSTANCE", "ID", "TENANT", "CELL", "NAME", "RESOURCE", "SIZE", "UNUSED SINCE"];
      const rows = views.map((each) => [
        ...["instance", "instanceId", "tenant", "cell", "name", "resource"].map((field) =>
          textAt(each, field),
        ),
        bytesText(Number(each["bytes"] ?? 0)),
        agoText(each["since"], now),
        each["undeleteUntil"] === undefined ? "-" : textAt(each, "undeleteUntil"),
      ]);
      terminal.out(tableText(terminal, [...head, "UNDELETE UNTIL"], rows));
    }
  });
}

export async function allKept(
  hub: HubClient,
  { instance = "", cell = "" }: Readonly<{ instance?: string; cell?: string }>,
): Promise<readonly KeptData[]> {
  const client = hub.client(KeptDataService);
  const found: KeptData[] = [];
  let pageToken = "";
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const query = { instance, cell, tenant: hub.context.tenant ?? "", pageSize: 500, pageToken };
    const page = await hub.call(() => client.listKeptData(query));
    found.push(...page.keptData);
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  return found;
}
