/** `holdfast get KIND [NAME]`: one object, or all that the caller may see. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { COMMON_FILTERS, type Filter, KINDS, type Kind, kindOf } from "../kinds.ts";
import { type ListFilters, ObjectCalls, type ObjectView } from "../object-calls.ts";
import { printObject, printObjects } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

/** Of one answer; beyond it a selector is needed. */
const OBJECTS_MAX = 20_000;

export type GetOptions = HubOptions &
  Readonly<{
    label?: readonly string[];
    release?: string;
    cell?: string;
    instance?: string;
    filter?: string;
    sortBy?: string;
  }>;

export async function get(
  terminal: Terminal,
  word: string,
  name: string | undefined,
  options: GetOptions,
): Promise<void> {
  const kind = kindOf(word);
  const filters = filtersOf(kind, options);
  const form = options.output ?? "table";
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const { tenant } = hub.context;
    if (name !== undefined) {
      refuseFilters(kind, filters);
      await printObject(terminal, kind, await calls.get(name, tenant), form);
      return;
    }
    const all = await listAll(calls, tenant, filters);
    const order = filters.orderBy === undefined ? "problems first" : "as given";
    await printObjects(terminal, kind, all, form, order);
  });
}

async function listAll(
  calls: ObjectCalls,
  tenant: string | undefined,
  filters: ListFilters,
): Promise<readonly ObjectView[]> {
  const all: ObjectView[] = [];
  for (let token = ""; ; ) {
    const { items, nextPageToken } = await calls.list(tenant, filters, token);
    all.push(...items);
    if (nextPageToken === "") return all;
    token = nextPageToken;
    if (all.length > OBJECTS_MAX) {
      const message = `more than ${OBJECTS_MAX} ${calls.kind.plural}; choose with --tenant, --filter, --label, --release or --cell`;
      throw new Fault("RESOURCE_EXHAUSTED", "LIST_TOO_LONG", message);
    }
  }
}

const FLAGS: Readonly<Record<Filter, string>> = {
  labels: "--label",
  release: "--release",
  cell: "--cell",
  instance: "--instance",
  filter: "--filter",
  orderBy: "--sort-by",
};

/** Throws INVALID_ARGUMENT `USAGE` for a filter that the kind's list does not know. */
function filtersOf(kind: Kind, options: GetOptions): ListFilters {
  const { label = [], release, cell, instance, filter, sortBy: orderBy } = options;
  const labels = label.length > 0 ? labelsOf(label) : undefined;
  const given = { labels, release, cell, instance, filter, orderBy };
  const asked = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name] of asked as [Filter, unknown][]) {
    if (COMMON_FILTERS.includes(name) || kind.filters.includes(name)) continue;
    const able = KINDS.filter(({ filters }) => filters.includes(name)).map((each) => each.plural);
    const message = `${FLAGS[name]} does not narrow ${kind.plural}; it narrows ${able.join(", ")}`;
    throw new Fault("INVALID_ARGUMENT", "USAGE", message);
  }
  return Object.fromEntries(asked);
}

function refuseFilters(kind: Kind, filters: ListFilters): void {
  const [name] = Object.keys(filters) as Filter[];
  if (name === undefined) return;
  const message = `${FLAGS[name]} narrows a list; one ${kind.name} was named`;
  throw new Fault("INVALID_ARGUMENT", "USAGE", message);
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
