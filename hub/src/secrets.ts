/**
 * Wraps the hub's secrets (certificate authorities, signing and ticket keys) with AES-256-GCM under a key
 * from a file. The name of a secret is authenticated with it, so that one cannot stand for another. Never
 * logs or shows a secret.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** First byte of what is stored; another key source would be another number. */
const FORMAT = 1;

export type Wrapper = Readonly<{
  wrap(name: string, secret: Uint8Array): Uint8Array;
  /** Throws FAILED_PRECONDITION `SECRET_UNREADABLE` if the key file is not the one it was wrapped with. */
  unwrap(name: string, wrapped: Uint8Array): Uint8Array;
}>;

export function wrapperOf(key: Uint8Array): Wrapper {
  return {
    wrap(name, secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
      const sealed = Buffer.concat([cipher.update(secret), cipher.final()]);
      return Buffer.concat([Buffer.from([FORMAT]), nonce, cipher.getAuthTag(), sealed]);
    },
    unwrap(name, wrapped) {
      const bytes = Buffer.from(wrapped);
      const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
      const tag = bytes.subarray(1 + NONCE_BYTES, 1 + NONCE_BYTES + TAG_BYTES);
      try {
        if (bytes[0] !== FORMAT) throw new Error(`format ${bytes[0]}`);
        const cipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
        cipher.setAAD(Buffer.from(name)).setAuthTag(tag);
        const sealed = bytes.subarray(1 + NONCE_BYTES + TAG_BYTES);
        return Buffer.concat([cipher.update(sealed), cipher.final()]);
      } catch (cause) {
        throw new Fault(
          "FAILED_PRECONDITION",
          "SECRET_UNREADABLE",
          `the hub's secret ${name} cannot be unwrapped; the key file is not the one that it was wrapped with`,
          { next: "restore the key file that belongs to this database", cause },
        );
      }
    },
  };
}

/** Group and others must have no access. */
export function isPrivateMode(mode: number): boolean {
  return (mode & 0o077) === 0;
}

/**
 * The key in the file, which is made (mode 0600) if there is none and `mayCreate`.
 * Throws INVALID_ARGUMENT `FILE_UNREADABLE`, `KEY_FILE_MODE` or `KEY_FILE_MALFORMED`.
 */
export function readKeyFile(path: string, mayCreate: boolean): Uint8Array {
  if (mayCreate) createKeyFile(path);
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, "utf8").trim();
    mode = statSync(path).mode;
  } catch (error) {
    throw unreadable("key_file", path, error);
  }
  const refuse = (reason: string, message: string, next?: string) =>
    new Fault(
      "INVALID_ARGUMENT",
      reason,
      `key_file ${shown(path)}: ${message}`,
      next === undefined ? {} : { next },
    );
  if (!isPrivateMode(mode)) {
    const octal = (mode & 0o777).toString(8).padStart(4, "0");
    throw refuse("KEY_FILE_MODE", `mode ${octal}; allowed: 0600`, `chmod 600 ${path}`);
  }
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw refuse("KEY_FILE_MALFORMED", `${text.length} characters; allowed: 64 hex digits`);
  }
  return Buffer.from(text, "hex");
}

function createKeyFile(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${randomBytes(KEY_BYTES).toString("hex")}\n`, { flag: "wx", mode: 0o600 });
    // The process's umask may have taken rights from the owner, too.
    chmodSync(path, 0o600);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return;
    throw unreadable("key_file", path, error);
  }
}
