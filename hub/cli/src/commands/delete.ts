/** `holdfast delete KIND NAME`: asks a person first; a script says --yes. Data of an instance is kept. */
import { Fault } from "@holdfast/shared/fault.ts";
import { listAt } from "../format.ts";
import { type Kind, kindOf, requireVerb } from "../kinds.ts";
import { ObjectCalls } from "../object-calls.ts";
import { jsonText, manifestOf, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, waitFor } from "../wait.ts";

export type DeleteOptions = HubOptions &
  Readonly<{ yes?: boolean; wait?: boolean; timeout?: number; dryRun?: "server" }>;

export async function remove(
  terminal: Terminal,
  word: string,
  name: string,
  options: DeleteOptions,
): Promise<void> {
  const kind = kindOf(word);
  requireVerb(kind, "delete");
  const isDryRun = options.dryRun === "server";
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const { tenant } = hub.context;
    if (!isDryRun) await confirm(terminal, kind, name, tenant, options);
    const requestId = terminal.randomUuid();
    const view = await calls.delete(name, tenant, { requestId, isDryRun });
    const isGoing = listAt(view, "metadata.finalizers").length > 0;
    const form = options.output ?? "table";
    if (form === "json") terminal.out(jsonText(manifestOf(kind, view)));
    else if (form === "yaml") terminal.out(await yamlText(manifestOf(kind, view)));
    else if (form === "name") terminal.out(`${kind.name}/${name}\n`);
    else {
      const dry = isDryRun ? " (dry run)" : "";
      terminal.out(`${kind.name}/${name} ${isGoing ? "is being deleted" : "deleted"}${dry}\n`);
    }
    if (options.wait !== true || isDryRun) return;
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    await waitFor(terminal, calls, { name, tenant, timeoutMs }, "delete");
    terminal.err(`${kind.name}/${name}: gone\n`);
  });
}

async function confirm(
  terminal: Terminal,
  kind: Kind,
  name: string,
  tenant: string | undefined,
  { yes }: DeleteOptions,
): Promise<void> {
  if (yes === true) return;
  const whose = tenant === undefined ? "" : ` of tenant ${tenant}`;
  if (!terminal.isInteractive) {
    const flag = tenant === undefined || !kind.isTenants ? "" : ` --tenant ${tenant}`;
    throw new Fault(
      "INVALID_ARGUMENT",
      "NOT_CONFIRMED",
      `delete ${kind.name}/${name}${whose}: nobody is there to be asked; --yes says that it is meant`,
      { next: `holdfast delete ${kind.name} ${name}${flag} --yes` },
    );
  }
  const answer = await terminal.ask(`Delete ${kind.name}/${name}${whose}? [y/N] `);
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new Fault("CANCELLED", "NOT_CONFIRMED", `${kind.name}/${name} was not deleted`);
}
