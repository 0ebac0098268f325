/**
 * Secrets that the customer keeps on this host: one file each in local_secrets_dir. Read only when a workload
 * is to get them; a file that others can read is refused, since it is no secret.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";

export const SECRET_BYTES_MAX = 65_536;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

export interface LocalSecrets {
  /** Throws FAILED_PRECONDITION `SECRET_MISSING` or `SECRET_EXPOSED`. */
  read(name: string): string;
  /** Changes whenever the file does; says nothing of its content. Throws as `read` does. */
  stamp(name: string): string;
}

/** `uid`: the agent's own, which must own the files. */
export function localSecrets(directory: string, uid: number): LocalSecrets {
  const checked = (name: string) => {
    if (!NAME.test(name)) {
      throw missing(`local secret ${shown(name)}: not a file name`, directory);
    }
    const path = join(directory, name);
    const found = statSync(path, { throwIfNoEntry: false, bigint: true });
    if (found === undefined || !found.isFile()) throw missing(`no file ${path}`, path);
    if ((Number(found.mode) & 0o077) !== 0 || Number(found.uid) !== uid) {
      const mode = (Number(found.mode) & 0o777).toString(8).padStart(4, "0");
      throw new Fault(
        "FAILED_PRECONDITION",
        "SECRET_EXPOSED",
        `${path}: mode ${mode}, owner ${found.uid}; needed: 0600, owner ${uid}`,
        { next: `chmod 600 ${path}` },
      );
    }
    return { path, found };
  };
  return {
    read(name) {
      const { path, found } = checked(name);
      if (found.size > BigInt(SECRET_BYTES_MAX)) {
        throw missing(`${path}: ${found.size} bytes; at most ${SECRET_BYTES_MAX}`, path);
      }
      // Editors end files with a newline that belongs to no password.
      return readFileSync(path, "utf8").replace(/\r?\n$/, "");
    },
    stamp(name) {
      const { found } = checked(name);
      return `${found.ino}.${found.mtimeNs}.${found.size}`;
    },
  };
}

function missing(message: string, path: string): Fault {
  return new Fault("FAILED_PRECONDITION", "SECRET_MISSING", message, {
    next: `write the secret to ${path} with mode 0600`,
  });
}
