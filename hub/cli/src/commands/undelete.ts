/** `holdfast instance undelete`: a deletion taken back, as long as its time is not over. */
import { toJson } from "@bufbuild/protobuf";
import { InstanceSchema, InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { kindOf } from "../kinds.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { jsonText, manifestOf, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, waitFor } from "../wait.ts";

export type UndeleteOptions = HubOptions &
  Readonly<{ dryRun?: "server"; wait?: boolean; timeout?: number }>;

export async function undelete(
  terminal: Terminal,
  name: string,
  options: UndeleteOptions,
): Promise<void> {
  const isDryRun = options.dryRun === "server";
  await withHub(terminal, options, async (hub) => {
    const { tenant } = hub.context;
    const { instance } = await hub.call(() =>
      hub.client(InstanceService).undeleteInstance({
        ...{ instance: name, tenant: tenant ?? "", validateOnly: isDryRun },
        requestId: terminal.randomUuid(),
      }),
    );
    if (instance === undefined) {
      throw new Fault("INTERNAL", "ANSWER_EMPTY", "the hub answered without an instance");
    }
    const kind = kindOf("instance");
    const view = toJson(InstanceSchema, instance) as ObjectView;
    const form = options.output ?? "table";
    const shown = instance.metadata?.name ?? name;
    if (form === "json") terminal.out(jsonText(manifestOf(kind, view)));
    else if (form === "yaml") terminal.out(await yamlText(manifestOf(kind, view)));
    else if (form === "name") terminal.out(`instance/${shown}\n`);
    else terminal.out(`instance/${shown} undeleted${isDryRun ? " (dry run)" : ""}\n`);
    if (options.wait !== true || isDryRun) return;
    const calls = await ObjectCalls.of(kind, hub);
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    await waitFor(terminal, calls, { name: shown, tenant, timeoutMs }, "progress");
    terminal.err(`instance/${shown}: serves\n`);
  });
}
