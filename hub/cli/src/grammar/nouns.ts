/** The verbs that nouns share: `holdfast tenant|cell|subscription|agent list|show|delete`. */
import type { Command } from "commander";
import { collect, dryRun, hub, timeout } from "./options.ts";
import { note, noun, type Typed } from "./registration.ts";

export function listAndShow(program: Command, typed: Typed, kind: string): void {
  const list = hub(noun(program, kind).command("list")).description(`all ${kind}s, problems first`);
  // Agents have no labels: a cell does.
  if (kind !== "agent") {
    list.option("-l, --label <key=value>", "only those with this label; may be repeated", collect);
  }
  list.action(async (options) => {
    note(typed, kind);
    await (await import("../commands/get.ts")).get(typed.terminal, kind, undefined, options);
  });
  hub(noun(program, kind).command("show"))
    .description(`all about one ${kind}, and why it is so`)
    .argument(`<${kind}>`, "name or id")
    .action(async (name, options) => {
      note(typed, kind, name);
      await (await import("../commands/describe.ts")).describe(typed.terminal, kind, name, options);
    });
}

export function deletion(program: Command, typed: Typed, kind: string, what: string): void {
  hub(noun(program, kind).command("delete"))
    .description(what)
    .argument(`<${kind}>`, "name or id")
    .option("-y, --yes", "do not ask")
    .addOption(dryRun())
    .option("--wait", "until it is gone")
    .addOption(timeout())
    .action(async (name, options) => {
      note(typed, kind, name);
      await (await import("../commands/delete.ts")).remove(typed.terminal, kind, name, options);
    });
}
