/** `holdfast release import-compose`: a Compose file on this machine becomes a blueprint on standard output. No hub is asked. */
import { parseBlueprint } from "@holdfast/shared/blueprint/draft.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { importCompose } from "../compose/compose.ts";
import { readText } from "../manifest.ts";
import type { Terminal } from "../terminal.ts";
import { yamlOf } from "../yaml-text.ts";

export type ImportOptions = Readonly<{
  file: string;
  product: string;
  releaseVersion: string;
  archive?: readonly string[];
}>;

/** What it prints is a sound blueprint, or nothing. */
export async function importComposeFile(terminal: Terminal, options: ImportOptions): Promise<void> {
  const { file, product, releaseVersion: version, archive = [] } = options;
  const text = await readText(file, terminal);
  const archives = new Map(archive.map(archiveOf));
  const { document, differing } = importCompose({ text, source: file, product, version, archives });
  parseBlueprint(document);
  for (const line of differing) terminal.err(`differs: ${line}\n`);
  terminal.out(yamlOf(document));
}

function archiveOf(given: string): readonly [string, string] {
  const [, service, file] = /^([^=]+)=(.+)$/.exec(given) ?? [];
  if (service !== undefined && file !== undefined) return [service, file];
  const message = `--archive: got ${shown(given)}; allowed: SERVICE=FILE`;
  throw new Fault("INVALID_ARGUMENT", "USAGE", message);
}
