/** An object that was changed, on standard output: one line, and a line for each field that differs. */
import { changesOf, changeText } from "./changes.ts";
import type { Kind } from "./kinds.ts";
import type { ObjectView } from "./object-calls.ts";
import { type OutputForm, printObject } from "./output.ts";
import type { Sensitive } from "./sensitive.ts";
import type { Terminal } from "./terminal.ts";

/** Of one object. */
const CHANGES_SHOWN_MAX = 20;

export type Changed = Readonly<{
  kind: Kind;
  name: string;
  before: ObjectView | undefined;
  after: ObjectView;
}>;
type Options = Readonly<{ output?: OutputForm | undefined; dryRun?: "server" }>;

export async function printChanged(
  terminal: Terminal,
  sensitive: Sensitive,
  changed: Changed,
  { output = "table", dryRun }: Options,
): Promise<void> {
  const { kind, name, after } = changed;
  if (output === "table") terminal.out(await changedText(sensitive, changed, dryRun === "server"));
  else if (output === "name") terminal.out(`${kind.name}/${name}\n`);
  else await printObject(terminal, kind, after, output);
}

export async function changedText(
  sensitive: Sensitive,
  { kind, name, before, after }: Changed,
  isDryRun: boolean,
): Promise<string> {
  const all = before === undefined ? [] : changesOf(before, after);
  const changes = await sensitive.hide(all, ...(before === undefined ? [] : [before]), after);
  const verb = before === undefined ? "created" : changes.length > 0 ? "changed" : "unchanged";
  const lines = changes.slice(0, CHANGES_SHOWN_MAX).map((change) => `  ${changeText(change)}\n`);
  const more = changes.length - CHANGES_SHOWN_MAX;
  if (more > 0) lines.push(`  and ${more} more\n`);
  return `${kind.name}/${name} ${verb}${isDryRun ? " (dry run)" : ""}\n${lines.join("")}`;
}
