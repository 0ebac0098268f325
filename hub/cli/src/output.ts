/** Objects on standard output, in the form that was asked for. */
import type { JsonValue } from "@bufbuild/protobuf";
import { columnsOf } from "./columns.ts";
import { byProblem } from "./conditions.ts";
import { nameOf } from "./format.ts";
import type { Kind } from "./kinds.ts";
import type { ObjectView } from "./object-calls.ts";
import { tableText } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export const OUTPUT_FORMS = ["table", "json", "yaml", "name"] as const;
export type OutputForm = (typeof OUTPUT_FORMS)[number];

export const API_VERSION = "holdfast/v1";

/** As `apply -f` takes it. */
export function manifestOf(kind: Kind, view: ObjectView): ObjectView {
  return { apiVersion: API_VERSION, kind: kind.title, ...view };
}

export function jsonText(value: JsonValue): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

export async function yamlText(value: JsonValue): Promise<string> {
  return (await import("./yaml-text.ts")).yamlOf(value);
}

/** One object that was asked for by name. */
export async function printObject(
  terminal: Terminal,
  kind: Kind,
  view: ObjectView,
  form: OutputForm,
): Promise<void> {
  if (form === "json") terminal.out(jsonText(manifestOf(kind, view)));
  else if (form === "yaml") terminal.out(await yamlText(manifestOf(kind, view)));
  else await printObjects(terminal, kind, [view], form);
}

/** A list: one JSON object with `items`, or a stream of YAML documents. A table alone is sorted. */
export async function printObjects(
  terminal: Terminal,
  kind: Kind,
  views: readonly ObjectView[],
  form: OutputForm,
  order: "problems first" | "as given" = "problems first",
): Promise<void> {
  if (form === "json") {
    const items = views.map((view) => manifestOf(kind, view));
    terminal.out(jsonText({ apiVersion: API_VERSION, kind: `${kind.title}List`, items }));
  } else if (form === "yaml") {
    const texts = await Promise.all(views.map((view) => yamlText(manifestOf(kind, view))));
    terminal.out(texts.join("---\n"));
  } else if (form === "name") {
    terminal.out(views.map((view) => `${kind.name}/${nameOf(view)}\n`).join(""));
  } else if (views.length === 0) {
    terminal.err(`no ${kind.plural}\n`);
  } else {
    const columns = columnsOf(kind.name);
    const now = terminal.clock.now();
    const sorted = order === "as given" ? views : [...views].sort(byProblem);
    const rows = sorted.map((view) => columns.map(([, cell]) => cell(view, now)));
    terminal.out(
      tableText(
        terminal,
        columns.map(([header]) => header),
        rows,
      ),
    );
  }
}
