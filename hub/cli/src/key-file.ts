/** Release keys as files: Ed25519 private keys in PKCS #8 PEM, readable by their owner only. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { keyIdOf, rawPublicKeyOf, type SigningKey } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { Terminal } from "./terminal.ts";

/** Writes a new key with mode 0600; never replaces a file. Gives the key's id. */
export async function createKeyFile(path: string, terminal: Terminal): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  await writeNew(path, pem, terminal);
  return keyIdOf(rawPublicKeyOf(privateKey));
}

/** Throws INVALID_ARGUMENT `KEY_MALFORMED` unless the file holds an Ed25519 private key. */
export async function readSigningKey(path: string, terminal: Terminal): Promise<SigningKey> {
  const privateKey = keyOf(path, await readKeyText(path, terminal), createPrivateKey);
  return { keyId: keyIdOf(rawPublicKeyOf(privateKey)), privateKey };
}

/** The raw public key of a private or a public key file. */
export async function readPublicKey(path: string, terminal: Terminal): Promise<Uint8Array> {
  return rawPublicKeyOf(keyOf(path, await readKeyText(path, terminal), createPublicKey));
}

function keyOf<K extends ReturnType<typeof createPublicKey>>(
  path: string,
  pem: string,
  parse: (pem: string) => K,
): K {
  let key: K | undefined;
  try {
    key = parse(pem);
  } catch {
    // Told below; the parser's own words may repeat what stands in the file.
  }
  if (key?.asymmetricKeyType === "ed25519") return key;
  const got = key?.asymmetricKeyType ?? "no such key";
  throw new Fault(
    "INVALID_ARGUMENT",
    "KEY_MALFORMED",
    `key file ${shown(path)}: got ${got}; allowed: an Ed25519 key in PEM (PKCS #8)`,
    { next: "holdfast release key create --out FILE" },
  );
}

async function readKeyText(path: string, terminal: Terminal): Promise<string> {
  const absolute = resolve(terminal.workingDirectory, path);
  try {
    const { mode } = await stat(absolute);
    const text = await readFile(absolute, "utf8");
    if (text.includes("PRIVATE KEY") && (mode & 0o077) !== 0) {
      terminal.err(`warning: key file ${path} can be read by other users; run chmod 600 ${path}\n`);
    }
    return text;
  } catch (error) {
    throw unreadable("key file", path, error);
  }
}

/** A new file that only its owner can read. Throws ALREADY_EXISTS `FILE_EXISTS` rather than replace one. */
export async function writeNew(path: string, text: string, terminal: Terminal): Promise<void> {
  try {
    const absolute = resolve(terminal.workingDirectory, path);
    await writeFile(absolute, text, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw unreadable("file", path, error);
    const message = `file ${shown(path)} is there already; it is not replaced`;
    throw new Fault("ALREADY_EXISTS", "FILE_EXISTS", message, { next: `ls -l ${path}` });
  }
}
