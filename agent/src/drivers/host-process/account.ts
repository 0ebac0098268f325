/**
 * Whose rights a process has. Without `user` those of the agent. Another account only where the agent runs as root,
 * where the customer's configuration names the account, and never root.
 */
import { chmodSync, chownSync, lstatSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { ProgramHost } from "./host.ts";

export type Account = Readonly<{ uid: number; gid: number }>;

const ACCOUNTS_BYTES_MAX = 4_194_304;
/** May be passed by others, not read. */
const PASSABLE = 0o011;

/**
 * undefined: the agent's own. Throws FAILED_PRECONDITION `USER_NOT_ALLOWED` or `USER_UNKNOWN`, PERMISSION_DENIED
 * `USER_IS_ROOT`.
 */
export function accountOf(
  { uid, users, accountsFile }: Pick<ProgramHost, "uid" | "users" | "accountsFile">,
  user: string | undefined,
  field = "user",
): Account | undefined {
  if (user === undefined) return undefined;
  const refused = (why: string, next: string) =>
    new Fault("FAILED_PRECONDITION", "USER_NOT_ALLOWED", `${field}: got ${shown(user)}; ${why}`, {
      next,
    });
  if (!users.includes(user)) {
    const why = `this agent allows ${users.join(", ") || "no other account than its own"}`;
    throw refused(why, "name it in process_users of the agent's configuration, if it may");
  }
  if (uid !== 0) {
    const why = `the agent runs as uid ${uid} and cannot start anything as another`;
    throw refused(why, "run the agent as root, or publish a release without it");
  }
  const account = findAccount(accountsFile, user);
  if (account === undefined) {
    const message = `${field}: ${shown(user)} is no account in ${accountsFile}`;
    throw new Fault("FAILED_PRECONDITION", "USER_UNKNOWN", message, {
      next: `useradd --system ${user}`,
    });
  }
  if (account.uid === 0 || account.gid === 0) {
    const message = `${field}: ${shown(user)} has the rights of root on this host; allowed: another account`;
    throw new Fault("PERMISSION_DENIED", "USER_IS_ROOT", message);
  }
  return account;
}

function findAccount(file: string, user: string): Account | undefined {
  const found = accountsIn(file).find(({ name }) => name === user);
  if (found === undefined || Number.isNaN(found.uid + found.gid)) return undefined;
  return { uid: found.uid, gid: found.gid };
}

/** For people: the name, or the number where it has none. */
export function accountName(file: string, { uid }: Pick<Account, "uid">): string {
  return accountsIn(file).find((each) => each.uid === uid)?.name ?? `uid ${uid}`;
}

/** Lines `name:x:uid:gid:…`, the first of a name counts. */
function accountsIn(file: string): readonly (Account & Readonly<{ name: string }>)[] {
  if (statSync(file).size > ACCOUNTS_BYTES_MAX) return [];
  const numberIn = (text: string) => (/^\d+$/.test(text) ? Number(text) : Number.NaN);
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.map((line) => {
    const [name = "", , uid = "", gid = ""] = line.split(":");
    return { name, uid: numberIn(uid), gid: numberIn(gid) };
  });
}

/** Gives one file or folder of ours to the account; what lies in a folder keeps its owner. */
export function giveTo(path: string, account: Account | undefined): void {
  if (account === undefined) return;
  const { uid, gid } = lstatSync(path);
  if (uid !== account.uid || gid !== account.gid) chownSync(path, account.uid, account.gid);
}

/** Lets others pass through the folders above `path` up to the state directory, without listing them. */
export function openWay(path: string, stateDir: string, account: Account | undefined): void {
  if (account === undefined) return;
  for (let folder = path; folder.startsWith(stateDir); folder = dirname(folder)) {
    const { mode } = statSync(folder);
    if ((mode & PASSABLE) !== PASSABLE) chmodSync(folder, (mode & 0o777) | PASSABLE);
  }
}
