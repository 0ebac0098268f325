/** `holdfast get KIND [NAME]`: one object, or all that the caller may see. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { printObject, printObjects } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

/** Of one answer; beyond it a selector is needed. */
const OBJECTS_MAX = 20_000;

export type GetOptions = HubOptions & Readonly<{ label?: readonly string[] }>;

export async function get(
  terminal: Terminal,
  word: string,
  name: string | undefined,
  options: GetOptions,
): Promise<void> {
  const kind = kindOf(word);
  const labels = labelsOf(options.label ?? []);
  const form = options.output ?? "table";
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const { tenant } = hub.context;
    if (name !== undefined) {
      await printObject(terminal, kind, await calls.get(name, tenant), form);
      return;
    }
    await printObjects(terminal, kind, await listAll(calls, tenant, labels), form);
  });
}

async function listAll(
  calls: ObjectCalls,
  tenant: string | undefined,
  labels: Readonly<Record<string, string>>,
): Promise<readonly ObjectView[]> {
  const all: ObjectView[] = [];
  for (let token = ""; ; ) {
    const { items, nextPageToken } = await calls.list(tenant, labels, token);
    all.push(...items);
    if (nextPageToken === "") return all;
    token = nextPageToken;
    if (all.length > OBJECTS_MAX) {
      const message = `more than ${OBJECTS_MAX} ${calls.kind.plural}; choose with --tenant or --label`;
      throw new Fault("RESOURCE_EXHAUSTED", "LIST_TOO_LONG", message);
    }
  }
}

function labelsOf(given: readonly string[]): Readonly<Record<string, string>> {
  const pairs = given.map((each) => {
    const split = each.indexOf("=");
    if (split > 0) return [each.slice(0, split), each.slice(split + 1)] as const;
    const message = `--label: got ${shown(each)}; allowed: KEY=VALUE`;
    throw new Fault("INVALID_ARGUMENT", "USAGE", message);
  });
  return Object.fromEntries(pairs);
}
