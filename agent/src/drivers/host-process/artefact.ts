/**
 * Turns argv of a spec into a program and its arguments: `node`, or a file inside the verified artefact. PATH is
 * never searched, and no link leads out of the artefact.
 */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { join, sep } from "node:path";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

const PROGRAM_RULE = "an ELF program or a script whose first line begins with #!";
/** First bytes of what the kernel itself can run. Anything else would be handed to a shell by exec. */
const MAGICS = [Buffer.from("\x7fELF", "latin1"), Buffer.from("#!")];

/** `root`: the artefact's own directory. */
export type Program = Readonly<{ file: string; args: readonly string[]; root: string }>;

const RUNTIME_NODE = "node";
const PATH_RULE = "a path of plain names inside the artefact, without .. or a leading slash";

/** Of the process or of a probe. Throws FAILED_PRECONDITION `ARTEFACT_MISSING`, INVALID_ARGUMENT `PROGRAM_PATH`. */
export function programOf(
  spec: Pick<ProgramSpec, "artefact" | "argv">,
  artefacts: ReadonlyMap<string, string>,
  nodePath: string,
): Program {
  const root = artefacts.get(spec.artefact);
  if (root === undefined) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "ARTEFACT_MISSING",
      `artefact: ${shown(spec.artefact)} is not on this host; here: ${[...artefacts.keys()].join(", ")}`,
    );
  }
  const [first = "", second, ...rest] = spec.argv;
  if (first !== RUNTIME_NODE) {
    const file = fileInside(root, first, "argv[0]", constants.X_OK);
    return { file, args: spec.argv.slice(1), root };
  }
  if (second === undefined) throw refused("argv[1]", "", `after node, ${PATH_RULE}`);
  const script = fileInside(root, second, "argv[1]", constants.R_OK);
  return { file: nodePath, args: [script, ...rest], root };
}

function fileInside(root: string, path: string, field: string, access: number): string {
  const isPlain = path.split("/").every((name) => name !== "" && name !== ".." && name !== ".");
  if (!isPlain || path.includes("\0")) throw refused(field, path, PATH_RULE);
  try {
    const inside = realpathSync(root);
    const file = realpathSync(join(inside, path));
    if (!file.startsWith(inside + sep))
      throw refused(field, path, "a link must not lead out of the artefact");
    if (!statSync(file).isFile()) throw refused(field, path, "a file");
    accessSync(file, access);
    if (access === constants.X_OK && !isProgram(file)) throw refused(field, path, PROGRAM_RULE);
    return file;
  } catch (error) {
    if (error instanceof Fault) throw error;
    const rule =
      access === constants.X_OK ? "an executable file of the artefact" : "a file of the artefact";
    throw refused(field, path, rule, error);
  }
}

function isProgram(file: string): boolean {
  const opened = openSync(file, "r");
  try {
    const head = Buffer.alloc(4);
    readSync(opened, head);
    return MAGICS.some((magic) => head.subarray(0, magic.length).equals(magic));
  } finally {
    closeSync(opened);
  }
}

function refused(field: string, path: string, allowed: string, cause?: unknown): Fault {
  const message = `${field}: got ${shown(path)}; allowed: ${allowed}`;
  return new Fault("INVALID_ARGUMENT", "PROGRAM_PATH", message, { cause });
}
