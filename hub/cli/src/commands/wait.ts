/**
 * `holdfast wait KIND NAME --for CONDITION[=STATUS]`: until it is so, with an exit code for each way it can end.
 * Several are waited for one after the other, within one timeout.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls } from "../object-calls.ts";
import { printObject } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, type WaitFor, waitFor } from "../wait.ts";

export type WaitOptions = HubOptions & Readonly<{ for: readonly string[]; timeout?: number }>;

export async function wait(
  terminal: Terminal,
  word: string,
  name: string,
  options: WaitOptions,
): Promise<void> {
  const kind = kindOf(word);
  const wanted = options.for.map((text) => ({ text, what: parseFor(text) }));
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const form = options.output ?? "table";
    let timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    const endsAt = terminal.clock.monotonic() + timeoutMs;
    for (const [index, { text, what }] of wanted.entries()) {
      const target = { name, tenant: hub.context.tenant, timeoutMs };
      const view = await waitFor(terminal, calls, target, what);
      if (view === undefined || form === "table") {
        terminal.out(`${kind.name}/${name} ${what === "delete" ? "gone" : text}\n`);
      } else if (index === wanted.length - 1) {
        await printObject(terminal, kind, view, form);
      }
      timeoutMs = Math.max(0, Math.round(endsAt - terminal.clock.monotonic()));
    }
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
