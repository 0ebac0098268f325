/**
 * Whether the programs that a blueprint starts are in its artefacts, before it is signed: an agent would find out only
 * when it is too late. Programs of an artefact are paths in it; a runtime's name is none.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { JsonObject } from "@bufbuild/protobuf";
import { PROCESS_RUNTIMES } from "@holdfast/shared/blueprint/kinds/process-argv.ts";
import { invalid, type Violation } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

type Resource = Readonly<{ id: string; kind: string; spec?: JsonObject | undefined }>;

/** `folders`: artefact name to its path on this machine. Throws INVALID_ARGUMENT `PROGRAM_MISSING` with all problems. */
export async function checkPrograms(
  resources: readonly Resource[],
  folders: ReadonlyMap<string, string>,
): Promise<void> {
  const found: Violation[] = [];
  for (const { id, kind, spec = {} } of resources) {
    if (kind !== "process") continue;
    const folder = folders.get(String(spec["artefact"]));
    const argv = Array.isArray(spec["argv"]) ? spec["argv"] : [];
    // A blueprint without them was refused before.
    if (folder === undefined || !(await isDirectory(folder))) continue;
    const isRuntime = PROCESS_RUNTIMES.some((each) => each === argv[0]);
    const at = isRuntime ? 1 : 0;
    const program = argv[at];
    if (typeof program !== "string" || (isRuntime && program.startsWith("-"))) continue;
    const message = await problemWith(join(folder, program), isRuntime);
    if (message === undefined) continue;
    const where = `resources.${id}.spec.argv[${at}]`;
    const text = `got ${shown(program)}; in artefact ${shown(spec["artefact"])} ${message}`;
    found.push({ path: where, message: text });
  }
  if (found.length > 0) throw invalid("PROGRAM_MISSING", found);
}

/** An artefact may be one file; what is missing is told where it is packed. */
function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function problemWith(path: string, isRuntime: boolean): Promise<string | undefined> {
  try {
    const entry = await stat(path);
    if (!entry.isFile()) return "it is no file";
    return isRuntime || (entry.mode & 0o100) !== 0
      ? undefined
      : "it may not be executed (chmod +x)";
  } catch {
    return "there is no such file";
  }
}
