/** `holdfast drift show`: what others changed of an instance, as its agent saw it last. */
import { DRIFT_HEADER, driftNotes, driftRows } from "../drift-lines.ts";
import { at, enumWord, textAt } from "../format.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls } from "../object-calls.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

/** True if anything differs that nobody has accepted. */
export async function show(
  terminal: Terminal,
  name: string,
  options: HubOptions,
): Promise<boolean> {
  return await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kindOf("instance"), hub);
    const view = await calls.get(name, hub.context.tenant);
    const form = options.output ?? "table";
    const rows = driftRows(view);
    const drift = at(view, "status.drift") ?? {};
    if (form === "json") terminal.out(jsonText(drift));
    else if (form === "yaml") terminal.out(await yamlText(drift));
    else if (form === "name") {
      terminal.out(
        rows.map(([resource, path]) => `${String(resource)}/${String(path)}\n`).join(""),
      );
    } else if (at(view, "status.drift") === undefined) {
      terminal.err("its agent has not compared it since the last commit\n");
    } else if (rows.length === 0) terminal.err("nothing differs from what was applied\n");
    else {
      terminal.out(tableText(terminal, DRIFT_HEADER, rows));
      const policy = enumWord(textAt(drift, "policy"), "DRIFT_POLICY_");
      const notes = [...driftNotes(view), `policy: ${policy}`];
      terminal.err(notes.map((line) => `${line}\n`).join(""));
    }
    return rows.some((row) => row.at(-1) === "");
  });
}
