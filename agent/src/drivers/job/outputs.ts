/**
 * What a job gives out: one JSON object in the file that $HOLDFAST_OUTPUTS names. Refuses what was not declared, what is
 * of another type, what is too long, and what holds one of the job's secrets: outputs are shown.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { type JobSpec, outputProblems } from "@holdfast/shared/blueprint/kinds/job.ts";
import type { JsonObject, JsonValue } from "../driver.ts";
import { objectOf } from "../json-file.ts";
import { knownSecretsIn } from "../output.ts";

/** Of the whole file. */
export const OUTPUTS_BYTES_MAX = 65_536;
const PROBLEMS_MAX = 5;

type Read = Readonly<{ outputs: JsonObject }> | Readonly<{ problem: string }>;

export function outputsPath(cwd: string): string {
  return join(cwd, "outputs.json");
}

/** Of a run that ended well. Where nothing is declared no file is looked for. `home` has its secrets. */
export function readOutputs(
  declared: JobSpec["outputs"],
  gives: () => Readonly<{ path: string; home: string }>,
): Read {
  if (Object.keys(declared).length === 0) return { outputs: {} };
  const { path, home } = gives();
  const text = textOf(path);
  if (text === undefined) {
    return { problem: `wrote no outputs, or more than ${OUTPUTS_BYTES_MAX} bytes` };
  }
  const outputs = parsed(text);
  if (outputs === undefined) return { problem: "its outputs are no JSON object" };
  const problems = outputProblems(declared, outputs).slice(0, PROBLEMS_MAX);
  if (problems.length > 0) return { problem: `its outputs: ${problems.join("; ")}` };
  const secrets = knownSecretsIn(home) ?? [];
  const told = Object.entries(outputs).find(([, value]) => {
    return secrets.some((secret) => String(value).includes(secret));
  });
  return told === undefined
    ? { outputs }
    : { problem: `its output ${told[0]} holds one of its secrets, and outputs are shown` };
}

function parsed(text: string): JsonObject | undefined {
  try {
    return objectOf(JSON.parse(text) as JsonValue);
  } catch {
    return undefined;
  }
}

/** A plain file alone: the program chose what lies there. */
function textOf(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > OUTPUTS_BYTES_MAX) return undefined;
    const buffer = Buffer.alloc(stat.size);
    return buffer.toString("utf8", 0, readSync(file, buffer));
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
