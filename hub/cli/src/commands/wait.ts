/** `holdfast wait KIND NAME --for CONDITION[=STATUS]`: until it is so, with an exit code for each way it can end. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls } from "../object-calls.ts";
import { printObject } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, type WaitFor, waitFor } from "../wait.ts";

export type WaitOptions = HubOptions & Readonly<{ for: string; timeout?: number }>;

export async function wait(
  terminal: Terminal,
  word: string,
  name: string,
  options: WaitOptions,
): Promise<void> {
  const kind = kindOf(word);
  const what = parseFor(options.for);
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    const target = { name, tenant: hub.context.tenant, timeoutMs };
    const view = await waitFor(terminal, calls, target, what);
    const form = options.output ?? "table";
    if (view !== undefined && form !== "table") await printObject(terminal, kind, view, form);
    else terminal.out(`${kind.name}/${name} ${what === "delete" ? "gone" : options.for}\n`);
  });
}

function parseFor(text: string): WaitFor {
  if (text === "delete") return "delete";
  const [, condition = "", status = "True"] = /^([A-Za-z]+)(?:=(.*))?$/.exec(text) ?? [];
  const found = ["True", "False", "Unknown"].find((e) => e.toLowerCase() === status.toLowerCase());
  if (condition !== "" && found !== undefined) return { condition, status: found };
  const rule = "a condition, such as Ready or Healthy=False, or delete";
  throw new Fault("INVALID_ARGUMENT", "USAGE", `--for: got ${shown(text)}; allowed: ${rule}`);
}
