/** `holdfast apply -f`: makes objects as the manifests say, in the order in which their references resolve. */
import { type Manifest, readManifests } from "../manifest.ts";
import { ObjectCalls, type ObjectView, ownedBy } from "../object-calls.ts";
import { jsonText, manifestOf, yamlText } from "../output.ts";
import { changedText } from "../print-changed.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, waitFor } from "../wait.ts";

export type ApplyOptions = HubOptions &
  Readonly<{
    file: readonly string[];
    dryRun?: "server";
    wait?: boolean;
    timeout?: number;
  }>;

export async function apply(terminal: Terminal, options: ApplyOptions): Promise<void> {
  const manifests = await readManifests(options.file, terminal);
  const isDryRun = options.dryRun === "server";
  await withHub(terminal, options, async (hub) => {
    const sensitive = new Sensitive(hub);
    const done: { manifest: Manifest; calls: ObjectCalls; view: ObjectView }[] = [];
    for (const manifest of manifests) {
      const calls = await ObjectCalls.of(manifest.kind, hub);
      const tenant = manifest.tenant ?? hub.context.tenant;
      const before = await calls.find(manifest.name, tenant);
      const requestId = terminal.randomUuid();
      const object = ownedBy(manifest.kind, manifest.object, hub.context.tenant);
      const view = await calls.apply(object, { requestId, isDryRun });
      done.push({ manifest: { ...manifest, tenant }, calls, view });
      await report(terminal, sensitive, { manifest, before, view }, options);
    }
    await print(terminal, done, options);
    if (options.wait !== true || isDryRun) return;
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    for (const { manifest, calls } of done) {
      if (manifest.kind.name !== "instance") continue;
      const { name, tenant } = manifest;
      await waitFor(terminal, calls, { name, tenant, timeoutMs }, "progress");
      terminal.err(`instance/${name}: serves\n`);
    }
  });
}

type Done = Readonly<{ manifest: Manifest; before: ObjectView | undefined; view: ObjectView }>;

/** One line for each object as it is done, so that a failure shows what was done before it. */
async function report(
  terminal: Terminal,
  sensitive: Sensitive,
  { manifest, before, view }: Done,
  { output = "table", dryRun }: ApplyOptions,
): Promise<void> {
  if (output !== "table") return;
  const { kind, name } = manifest;
  const changed = { kind, name, before, after: view };
  terminal.out(await changedText(sensitive, changed, dryRun === "server"));
}

async function print(
  terminal: Terminal,
  done: readonly Readonly<{ manifest: Manifest; view: ObjectView }>[],
  { output = "table" }: ApplyOptions,
): Promise<void> {
  const views = done.map(({ manifest, view }) => manifestOf(manifest.kind, view));
  if (output === "json") terminal.out(jsonText({ items: views }));
  if (output === "yaml") terminal.out((await Promise.all(views.map(yamlText))).join("---\n"));
  if (output !== "name") return;
  terminal.out(done.map(({ manifest: { kind, name } }) => `${kind.name}/${name}\n`).join(""));
}
