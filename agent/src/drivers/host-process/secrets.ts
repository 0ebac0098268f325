/** Writes a copy's secrets where its spec says, and nowhere else: readable by its owner alone, gone with the copy. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { Wanted } from "../driver.ts";
import { type Account, giveTo } from "./account.ts";
import { secretPath } from "./environment.ts";

export function writeSecrets(
  runDir: string,
  wanted: Wanted,
  spec: ProgramSpec,
  account: Account | undefined,
): void {
  const folder = join(runDir, "secrets");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (account !== undefined) chmodSync(folder, 0o711);
  for (const [name, secret] of Object.entries(spec.secretFiles)) {
    const value = secretValue(wanted, name, secret);
    const path = secretPath(runDir, name);
    writeFileSync(path, value, { mode: 0o600 });
    // The mode above counts for a new file only.
    chmodSync(path, 0o600);
    giveTo(path, account);
  }
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
