/**
 * `holdfast support-bundle`: what helps somebody else to understand a problem, as far as the caller may read it. What
 * goes in is a list of allowed fields, never all but some; texts that people and programs wrote are scrubbed besides.
 * The contents are shown before anything is written.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { GetHubResponseSchema, HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { latestEvents } from "../event-feed.ts";
import { bytesText } from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import { KINDS, type Kind } from "../kinds.ts";
import { ObjectCalls } from "../object-calls.ts";
import { jsonText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { allowedEvent, allowedHub, allowedObject } from "../support-allowed.ts";
import type { BundleFile } from "../support-archive.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export type BundleOptions = HubOptions & Readonly<{ out?: string; yes?: boolean }>;

/** Of one kind. */
const OBJECTS_MAX = 2_000;
const PAGE_SIZE = 500;
const EVENTS_MAX = 500;

export async function supportBundle(
  terminal: Terminal,
  version: string,
  options: BundleOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const files = await collect(terminal, hub, version);
    const rows = files.map(({ name, text, what }) => [name, bytesText(text.length), what]);
    terminal.err(tableText(terminal, ["FILE", "SIZE", "WHAT"], rows));
    await confirm(terminal, options);
    const stamp = new Date(terminal.clock.now()).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const path = options.out ?? `holdfast-support-${stamp}.tar.gz`;
    const { writeArchive } = await import("../support-archive.ts");
    const bytes = await writeArchive(terminal, path, files);
    const form = options.output ?? "table";
    if (form === "json") terminal.out(jsonText({ file: path, bytes, contents: files.length }));
    else terminal.out(`${path}\n`);
    terminal.err(`${bytesText(bytes)}; look at it before you hand it on: tar tzf ${path}\n`);
  });
}

async function collect(
  terminal: Terminal,
  hub: HubClient,
  version: string,
): Promise<readonly BundleFile[]> {
  const about = await hub.call(() => hub.client(HubService).getHub({}));
  const files = [
    fileOf("versions.json", "versions of command line and hub", {
      commandLine: version,
      hub: allowedHub(toJson(GetHubResponseSchema, about) as JsonObject),
      time: new Date(terminal.clock.now()).toISOString(),
    }),
  ];
  for (const kind of KINDS) {
    const found = await objectsOf(hub, kind);
    if (found === undefined) continue;
    const what = `${found.items.length} ${kind.plural}${found.isCut ? ", the first ones" : ""}`;
    files.push(fileOf(`objects/${kind.plural}.json`, what, { items: found.items }));
  }
  const query = { tenant: hub.context.tenant };
  const { events } = await latestEvents(hub, query, { count: EVENTS_MAX });
  const what = `the last ${events.length} events, without values`;
  return [...files, fileOf("events.json", what, { events: events.map(allowedEvent) })];
}

function fileOf(name: string, what: string, value: JsonValue): BundleFile {
  return { name, what, text: jsonText(value) };
}

/** Undefined where the caller may not list the kind. */
async function objectsOf(
  hub: HubClient,
  kind: Kind,
): Promise<Readonly<{ items: JsonObject[]; isCut: boolean }> | undefined> {
  const calls = await ObjectCalls.of(kind, hub);
  const items: JsonObject[] = [];
  try {
    for (let token = ""; ; ) {
      const page = await calls.list(hub.context.tenant, {}, token, PAGE_SIZE);
      items.push(...page.items.map(allowedObject));
      token = page.nextPageToken;
      if (token === "") return { items, isCut: false };
      if (items.length >= OBJECTS_MAX) return { items, isCut: true };
    }
  } catch (error) {
    if (error instanceof Fault && error.code === "PERMISSION_DENIED") return undefined;
    throw error;
  }
}

async function confirm(terminal: Terminal, { yes }: BundleOptions): Promise<void> {
  if (yes === true) return;
  if (!terminal.isInteractive) {
    const message = "nobody is there to look at the contents; --yes says that they may be written";
    const next = "holdfast support-bundle --yes";
    throw new Fault("INVALID_ARGUMENT", "NOT_CONFIRMED", message, { next });
  }
  const answer = await terminal.ask("Write it? [y/N] ");
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new Fault("CANCELLED", "NOT_CONFIRMED", "nothing was written");
}
