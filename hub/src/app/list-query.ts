/**
 * What a list may be narrowed and sorted by, from the text that callers write: AIP-160 and AIP-132 in part. A typed
 * grammar of closed words, so that no text of a caller ever stands in a statement. Pure.
 */

import { shown } from "@holdfast/shared/text.ts";
import { created, nameContains, nameIs, TIME_COMPARISONS } from "../store/list-conditions.ts";
import type { Condition, PageOrder } from "../store/objects.ts";
import { refuse } from "./refusal.ts";

const TERMS_MAX = 16;
/** A term, and what joins it to the next one. Values are always in quotes. */
const TERM =
  /^\s*(?<field>[a-z_]+(?:\.(?<key>[A-Za-z0-9._/-]{1,128}))?)\s*(?<operator><=|>=|[=<>:])\s*"(?<value>(?:[^"\\\p{Cc}]|\\["\\])*)"\s*(?<and>AND\s|$)/u;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

const FILTER_RULE =
  "name (= or :), labels.KEY (=) and create_time (<, <=, >, >=), values in quotes, joined by AND";
const ORDERS: Readonly<Record<string, PageOrder>> = {
  "": { by: "name", descending: false },
  name: { by: "name", descending: false },
  "name desc": { by: "name", descending: true },
  create_time: { by: "create_time", descending: false },
  "create_time desc": { by: "create_time", descending: true },
};

export type Filter = Readonly<{
  /** With those that were asked for anyway. */
  labels: Readonly<Record<string, string>>;
  conditions: readonly Condition[];
}>;

/** Throws INVALID_ARGUMENT `ORDER_INVALID`. */
export function orderOf(text: string): PageOrder {
  const order = ORDERS[text.trim().replace(/\s+/g, " ")];
  if (order !== undefined) return order;
  const allowed = Object.keys(ORDERS).filter((each) => each !== "");
  throw refuse("order_by", `got ${shown(text)}; allowed: ${allowed.join(", ")}`, "ORDER_INVALID");
}

/** `asked`: labels that the list is narrowed to anyway. Throws INVALID_ARGUMENT `FILTER_INVALID` that says where. */
export function filterOf(text: string, asked: Readonly<Record<string, string>> = {}): Filter {
  const labels: Record<string, string> = { ...asked };
  const conditions: Condition[] = [];
  let isOver = text.trim() === "";
  for (let at = 0, terms = 1; !isOver; terms += 1) {
    if (terms > TERMS_MAX) throw invalid(`more than ${TERMS_MAX} terms`);
    const found = TERM.exec(text.slice(at));
    if (found === null) {
      throw invalid(`from character ${at + 1} on: got ${shown(text.slice(at))}`);
    }
    const { field = "", key, operator = "", and, value: quoted = "" } = found.groups ?? {};
    const value = quoted.replace(/\\(["\\])/g, "$1");
    if (key === undefined) conditions.push(conditionOf(field, operator, value));
    else addLabel(labels, { field, key, operator, value });
    at += found[0].length;
    isOver = and === "";
  }
  return { labels, conditions };
}

type Label = Readonly<{ field: string; key: string; operator: string; value: string }>;

function addLabel(labels: Record<string, string>, { field, key, operator, value }: Label): void {
  if (!field.startsWith("labels.")) throw invalid(`got the field ${shown(field)}`);
  if (operator !== "=") throw invalid(`${shown(field)}: got ${operator}`);
  if (Object.hasOwn(labels, key)) throw invalid(`${shown(field)} is there twice`);
  labels[key] = value;
}

function conditionOf(field: string, operator: string, value: string): Condition {
  if (field === "name" && operator === "=") return nameIs(value);
  if (field === "name" && operator === ":") return nameContains(value);
  const comparison = TIME_COMPARISONS.find((each) => each === operator);
  if (field === "create_time" && comparison !== undefined) {
    return created(comparison, timeOf(value));
  }
  const isKnown = field === "name" || field === "create_time";
  throw invalid(isKnown ? `${field}: got ${operator}` : `got the field ${shown(field)}`);
}

function timeOf(text: string): Date {
  const ms = RFC_3339.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return new Date(ms);
  throw invalid(`create_time: got ${shown(text)}; allowed: a time such as 2026-11-20T00:00:00Z`);
}

function invalid(what: string) {
  return refuse("filter", `${what}; allowed: ${FILTER_RULE}`, "FILTER_INVALID");
}
