/**
 * A folder that is held open. What is done through it happens in it, wherever its path leads by then, and no link is
 * followed on the way: Node has no openat(2), but the kernel takes /proc/self/fd/N/NAME for the name in the open
 * folder N, which is the same. Refuses links, and what is no folder.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  type Stats,
  statfsSync,
  unlinkSync,
} from "node:fs";
import { promisify } from "node:util";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { Account } from "../host-process/account.ts";

const syncFile = promisify(fsync);
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

/** Of linux/magic.h: file systems whose files are switches and windows of the kernel. */
const KERNEL_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0x1cd1, "devpts"],
  [0x64626720, "debugfs"],
  [0x74726163, "tracefs"],
  [0x73636673, "securityfs"],
  [0xcafe4a11, "bpf"],
  [0xde5e81e4, "efivarfs"],
]);

export class Folder {
  /** For messages. */
  readonly path: string;
  readonly #fd: number;
  readonly #handles: string;

  /** Follows links on the way to `path`, but not at its end: for what only the agent or the customer chooses. */
  static open(procDir: string, path: string): Folder {
    return new Folder(openFolder(path, path), `${procDir}/self/fd`, path);
  }

  private constructor(fd: number, handles: string, path: string) {
    this.#fd = fd;
    this.#handles = handles;
    this.path = path;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** As the path of a system call: valid as long as this is open. */
  at(name: string): string {
    return `${this.#handles}/${this.#fd}/${name}`;
  }

  /** What stands there itself, a link too; undefined: nothing. */
  look(name: string): Stats | undefined {
    return lstatSync(this.at(name), { throwIfNoEntry: false });
  }

  /** undefined: nothing stands there. Throws FAILED_PRECONDITION `FILE_PATH_BLOCKED` for a link and what is no folder. */
  enter(name: string): Folder | undefined {
    const path = `${this.path === "/" ? "" : this.path}/${name}`;
    try {
      return new Folder(openFolder(this.at(name), path), this.#handles, path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** A new folder with exactly this mode and owner. */
  make(name: string, mode: number, account: Account | undefined): Folder {
    mkdirSync(this.at(name), { mode: 0o700 });
    const made = this.enter(name);
    if (made === undefined) throw blocked(`${this.path}/${name}`, "went away as it was made");
    try {
      if (account !== undefined) fchownSync(made.#fd, account.uid, account.gid);
      fchmodSync(made.#fd, mode);
    } catch (error) {
      made.close();
      throw error;
    }
    return made;
  }

  names(): readonly string[] {
    return readdirSync(this.at("."));
  }

  link(from: string, to: string): void {
    linkSync(this.at(from), this.at(to));
  }

  rename(from: string, to: string): void {
    renameSync(this.at(from), this.at(to));
  }

  /** Whether there was something. */
  unlink(name: string): boolean {
    return unless("ENOENT", () => unlinkSync(this.at(name)));
  }

  /** Whether it was there and empty. */
  removeEmpty(name: string): boolean {
    try {
      return unless("ENOENT", () => rmdirSync(this.at(name)));
    } catch (error) {
      if (codeOf(error) === "ENOTEMPTY" || codeOf(error) === "EEXIST") return false;
      throw error;
    }
  }

  /** Names that came and went are on the disk once it resolves. */
  async sync(): Promise<void> {
    await syncFile(this.#fd);
  }

  /** Free for the agent, bytes. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.at("."));
    return bavail * bsize;
  }

  /** Throws PERMISSION_DENIED `FILE_SYSTEM_REFUSED` on a file system of the kernel. */
  refuseKernel(): void {
    const { type } = statfsSync(this.at("."));
    const name = KERNEL_FILE_SYSTEMS.get(type);
    if (name === undefined) return;
    const message = `${this.path}: on a file system of the kernel (${name}); allowed: files on a disk`;
    throw new Fault("PERMISSION_DENIED", "FILE_SYSTEM_REFUSED", message);
  }
}

function openFolder(at: string, path: string): number {
  try {
    return openSync(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    const code = codeOf(error);
    if (code !== "ELOOP" && code !== "ENOTDIR") throw error;
    const stands = lstatSync(at, { throwIfNoEntry: false });
    throw blocked(path, stands?.isSymbolicLink() ? "a link, which is not followed" : "no folder");
  }
}

export function blocked(path: string, what: string): Fault {
  const message = `${shown(path)}: ${what}; allowed: folders down to a plain file`;
  return new Fault("FAILED_PRECONDITION", "FILE_PATH_BLOCKED", message);
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function unless(code: string, act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (codeOf(error) === code) return false;
    throw error;
  }
}
