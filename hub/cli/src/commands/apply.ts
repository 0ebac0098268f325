/** `holdfast apply -f`: makes objects as the manifests say, in the order in which their references resolve. */
import type { JsonValue } from "@bufbuild/protobuf";
import { shown } from "@holdfast/shared/text.ts";
import { at } from "../format.ts";
import { type Manifest, readManifests } from "../manifest.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { jsonText, manifestOf, yamlText } from "../output.ts";
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

const CHANGES_SHOWN_MAX = 20;

export async function apply(terminal: Terminal, options: ApplyOptions): Promise<void> {
  const manifests = await readManifests(options.file, terminal);
  const isDryRun = options.dryRun === "server";
  await withHub(terminal, options, async (hub) => {
    const done: { manifest: Manifest; calls: ObjectCalls; view: ObjectView }[] = [];
    for (const manifest of manifests) {
      const calls = await ObjectCalls.of(manifest.kind, hub);
      const tenant = manifest.tenant ?? hub.context.tenant;
      const before = await calls.find(manifest.name, tenant);
      const requestId = terminal.randomUuid();
      const object = owned(manifest, hub.context.tenant);
      const view = await calls.apply(object, { requestId, isDryRun });
      done.push({ manifest: { ...manifest, tenant }, calls, view });
      report(terminal, manifest, before, view, options);
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

/** `--tenant` stands for a tenant that the manifest of a tenant's own object leaves out. */
function owned({ kind, object }: Manifest, tenant: string | undefined): ObjectView {
  const isOpen = kind.name === "subscription" && !at(object, "metadata.tenant");
  if (!isOpen || tenant === undefined) return object;
  return { ...object, metadata: { ...(at(object, "metadata") as ObjectView), tenant } };
}

/** One line for each object as it is done, so that a failure shows what was done before it. */
function report(
  terminal: Terminal,
  { kind, name }: Manifest,
  before: ObjectView | undefined,
  after: ObjectView,
  { output = "table", dryRun }: ApplyOptions,
): void {
  if (output !== "table") return;
  const changes = before === undefined ? [] : changesOf(before, after);
  const verb = before === undefined ? "created" : changes.length > 0 ? "changed" : "unchanged";
  terminal.out(`${kind.name}/${name} ${verb}${dryRun === "server" ? " (dry run)" : ""}\n`);
  for (const line of changes.slice(0, CHANGES_SHOWN_MAX)) terminal.out(`  ${line}\n`);
  const more = changes.length - CHANGES_SHOWN_MAX;
  if (more > 0) terminal.out(`  and ${more} more\n`);
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

/** `spec.release: 1.0.0 -> 1.1.0` for each leaf of spec and labels that differs. */
export function changesOf(before: ObjectView, after: ObjectView): readonly string[] {
  const places = ["spec", "metadata.labels", "metadata.annotations"];
  return places.flatMap((place) => differences(at(before, place), at(after, place), place));
}

function differences(
  a: JsonValue | undefined,
  b: JsonValue | undefined,
  path: string,
): readonly string[] {
  if (isMap(a) && isMap(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
    return keys.flatMap((key) => differences(a[key], b[key], `${path}.${key}`));
  }
  if (JSON.stringify(a) === JSON.stringify(b)) return [];
  const said = (value: JsonValue | undefined) => (value === undefined ? "nothing" : shown(value));
  return [`${shown(path)}: ${said(a)} -> ${said(b)}`];
}

function isMap(value: JsonValue | undefined): value is ObjectView {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
