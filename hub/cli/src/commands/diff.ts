/** `holdfast diff -f`: what applying the manifests would change, as the hub itself would change it. Changes nothing. */
import { Fault } from "@holdfast/shared/fault.ts";
import { type Change, changesOf, changeText } from "../changes.ts";
import { type Manifest, readManifests } from "../manifest.ts";
import { ObjectCalls, type ObjectView, ownedBy } from "../object-calls.ts";
import { jsonText, yamlText } from "../output.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type DiffOptions = HubOptions & Readonly<{ file: readonly string[] }>;

type Verdict = "same" | "changed" | "new";
type Difference = Readonly<{
  manifest: Manifest;
  verdict: Verdict;
  changes: readonly Change[];
  /** The hub could not judge it, since it names what this file makes first. */
  isUnjudged: boolean;
}>;

/** True if anything differs. */
export async function diff(terminal: Terminal, options: DiffOptions): Promise<boolean> {
  const manifests = await readManifests(options.file, terminal);
  return await withHub(terminal, options, async (hub) => {
    const sensitive = new Sensitive(hub);
    const found: Difference[] = [];
    for (const manifest of manifests) {
      const calls = await ObjectCalls.of(manifest.kind, hub);
      const tenant = manifest.tenant ?? hub.context.tenant;
      const before = await calls.find(manifest.name, tenant);
      const wanted = ownedBy(manifest.kind, manifest.object, hub.context.tenant);
      const isFirst = !found.some(({ verdict }) => verdict === "new");
      const after = await judged(terminal, calls, wanted, before === undefined && !isFirst);
      const view = after ?? wanted;
      const changes = await sensitive.hide(changesOf(before ?? {}, view), view, before ?? view);
      const verdict = before === undefined ? "new" : changes.length > 0 ? "changed" : "same";
      found.push({ manifest, verdict, changes, isUnjudged: after === undefined });
    }
    await print(terminal, found, options);
    return found.some(({ verdict }) => verdict !== "same");
  });
}

/** As the hub would make it; undefined where it cannot tell yet. */
async function judged(
  terminal: Terminal,
  calls: ObjectCalls,
  wanted: ObjectView,
  mayNameNewOnes: boolean,
): Promise<ObjectView | undefined> {
  try {
    return await calls.apply(wanted, { requestId: terminal.randomUuid(), isDryRun: true });
  } catch (error) {
    if (mayNameNewOnes && error instanceof Fault && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

async function print(
  terminal: Terminal,
  found: readonly Difference[],
  { output = "table" }: DiffOptions,
): Promise<void> {
  const differing = found.filter(({ verdict }) => verdict !== "same");
  if (output === "json" || output === "yaml") {
    const items = found.map(viewOf);
    terminal.out(output === "json" ? jsonText({ items }) : await yamlText({ items }));
  } else if (output === "name") {
    terminal.out(differing.map(({ manifest }) => `${nameOf(manifest)}\n`).join(""));
  } else if (differing.length === 0) terminal.err("no differences\n");
  else for (const each of differing) terminal.out(textOf(each));
}

function nameOf({ kind, name }: Manifest): string {
  return `${kind.name}/${name}`;
}

function textOf({ manifest, verdict, changes, isUnjudged }: Difference): string {
  const whose = manifest.tenant === undefined ? "" : ` of tenant ${manifest.tenant}`;
  const unsure = isUnjudged ? ", not judged by the hub yet: it names what is made first" : "";
  const lines = changes.map((change) => `  ${changeText(change)}\n`);
  return `${nameOf(manifest)}${whose}: ${verdict}${unsure}\n${lines.join("")}`;
}

function viewOf({ manifest, verdict, changes, isUnjudged }: Difference) {
  return {
    kind: manifest.kind.title,
    name: manifest.name,
    tenant: manifest.tenant ?? "",
    verdict,
    judged: !isUnjudged,
    changes: changes.map(({ path, before = null, after = null, isHidden = false }) => {
      return { path, before, after, hidden: isHidden };
    }),
  };
}
