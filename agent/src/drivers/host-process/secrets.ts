/**
 * Writes a copy's secrets where its spec says, and nowhere else: readable by its owner alone, gone with the copy. What
 * the files looked like then is noted beside them, without a word of what is in them.
 */
import { chmodSync, lstatSync, mkdirSync, type Stats, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonObject, JsonValue, Wanted } from "../driver.ts";
import { objectOf, readJson, replaceJson } from "../json-file.ts";
import { type Account, giveTo } from "./account.ts";
import { secretPath } from "./environment.ts";

/** What is said of a file that nobody else has touched. */
export const SECRET_AS_WRITTEN: JsonObject = {
  content: "as written",
  mode: "600",
  owner: "its own",
};
const NOTES_FILE = "secrets.json";

export function writeSecrets(
  runDir: string,
  wanted: Wanted,
  spec: ProgramSpec,
  account: Account | undefined,
): void {
  const folder = join(runDir, "secrets");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (account !== undefined) chmodSync(folder, 0o711);
  const notes: Record<string, JsonValue> = {};
  for (const [name, secret] of Object.entries(spec.secretFiles)) {
    const value = secretValue(wanted, name, secret);
    const path = secretPath(runDir, name);
    writeFileSync(path, value, { mode: 0o600 });
    // The mode above counts for a new file only.
    chmodSync(path, 0o600);
    giveTo(path, account);
    const { mtimeMs, size, uid } = lstatSync(path);
    notes[name] = { mtimeMs, size, uid };
  }
  if (Object.keys(notes).length > 0) replaceJson(join(runDir, NOTES_FILE), notes);
}

/** By name, how each file is now beside how it was written; nothing of a copy whose files were not noted. */
export function secretFields(runDir: string): JsonObject {
  const noted = Object.entries(readJson(join(runDir, NOTES_FILE)) ?? {});
  return Object.fromEntries(
    noted.map(([name, note]): [string, JsonObject] => {
      const found = lstatSync(secretPath(runDir, name), { throwIfNoEntry: false });
      if (found?.isFile() !== true) return [name, { content: found ? "not a file" : "gone" }];
      return [name, fieldsOf(found, objectOf(note) ?? {})];
    }),
  );
}

function fieldsOf({ size, mtimeMs, mode, uid }: Stats, note: JsonObject): JsonObject {
  const isSame = note["mtimeMs"] === mtimeMs && note["size"] === size;
  return {
    content: isSame ? "as written" : `changed, ${size} bytes`,
    mode: (mode & 0o7777).toString(8),
    owner: note["uid"] === uid ? "its own" : `uid ${uid}`,
  };
}

/** Throws FAILED_PRECONDITION `SECRET_MISSING`. `file` names it for people. */
export function secretValue(wanted: Wanted, file: string, secret: string): string {
  const value = wanted.secrets.get(secret);
  if (value !== undefined) return value;
  throw new Fault(
    "FAILED_PRECONDITION",
    "SECRET_MISSING",
    `secretFiles.${file}: the secret ${shown(secret)} is not on this host`,
  );
}
