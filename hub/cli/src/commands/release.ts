/**
 * `holdfast release publish`: compiles a blueprint, signs its bytes with the vendor's release key on this machine,
 * and brings artefacts and envelope to the hub, which can store them but not make them.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { ReleaseSchema, ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { compileBlueprint } from "@holdfast/shared/blueprint/compile.ts";
import { type BlueprintDraft, parseBlueprint } from "@holdfast/shared/blueprint/draft.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { parseYaml } from "@holdfast/shared/yaml.ts";
import { type PackedArtefact, packArtefact } from "../artefact-file.ts";
import { createKeyFile, readSigningKey } from "../key-file.ts";
import { kindOf } from "../kinds.ts";
import { readText } from "../manifest.ts";
import { printObject } from "../output.ts";
import { checkPrograms } from "../programs.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { uploadArtefact } from "../upload.ts";

export type PublishOptions = HubOptions &
  Readonly<{ file: string; key: readonly string[]; dryRun?: "server" }>;

export async function publish(terminal: Terminal, options: PublishOptions): Promise<void> {
  if (options.file === "-") {
    const message =
      "-f: a blueprint names its artefacts relative to its own file, so it comes from one";
    throw new Fault("INVALID_ARGUMENT", "USAGE", message);
  }
  const text = await readText(options.file, terminal);
  const draft = parseBlueprint(parseYaml(text, options.file));
  const keys = await Promise.all(options.key.map((path) => readSigningKey(path, terminal)));
  await checkPrograms(draft.blueprint.resources, foldersOf(terminal, options.file, draft));
  const isDryRun = options.dryRun === "server";
  const form = options.output ?? "table";
  await withHub(terminal, options, async (hub) => {
    const { vendorId } = await hub.call(() => hub.client(HubService).getHub({}));
    await withPacked(terminal, options.file, draft, async (artefacts) => {
      const blueprint = compileBlueprint(draft, { vendorId, artefacts });
      const payload = toBinary(BlueprintSchema, blueprint);
      const envelope = signEnvelope("blueprint", payload, keys);
      // A dry run brings artefacts too: the hub judges a release only with all of them.
      for (const artefact of artefacts) await uploadArtefact(terminal, hub, artefact);
      const request = { envelope, validateOnly: isDryRun, requestId: terminal.randomUuid() };
      const { release } = await hub.call(() => hub.client(ReleaseService).publishRelease(request));
      const name = `${blueprint.product}-${blueprint.version}`;
      if (form === "table") {
        const digest = digestOf(payload);
        terminal.out(`release/${name} ${isDryRun ? "may be published" : "published"}  ${digest}\n`);
        return;
      }
      const view = release === undefined ? {} : (toJson(ReleaseSchema, release) as JsonObject);
      await printObject(terminal, kindOf("release"), view, form);
    });
  });
}

/** Where each artefact of the draft lies on this machine. */
function foldersOf(
  terminal: Terminal,
  file: string,
  { artefacts }: BlueprintDraft,
): ReadonlyMap<string, string> {
  const base = dirname(resolve(terminal.workingDirectory, file));
  return new Map(artefacts.map(({ name, path }) => [name, resolve(base, path)]));
}

/** Packs into a directory of its own that is gone afterwards. */
async function withPacked(
  terminal: Terminal,
  file: string,
  draft: BlueprintDraft,
  work: (artefacts: readonly PackedArtefact[]) => Promise<void>,
): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "holdfast-publish-"));
  try {
    const artefacts: PackedArtefact[] = [];
    for (const [name, path] of foldersOf(terminal, file, draft)) {
      artefacts.push(await packArtefact(name, path, scratch));
    }
    await work(artefacts);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

export async function createKey(
  terminal: Terminal,
  { out }: Readonly<{ out: string }>,
): Promise<void> {
  const keyId = await createKeyFile(out, terminal);
  terminal.out(`${keyId}\n`);
  terminal.err(`release key ${keyId} is in ${shown(out)}; keep it away from the hub\n`);
}
