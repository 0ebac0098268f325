/**
 * How PostgreSQL's programs are run. It refuses to be root: as root they run in a user namespace, where they
 * see themselves as nobody although the files stay root's; where namespaces are forbidden they run as an
 * unprivileged user that then owns the data.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { chown, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { Fault } from "@holdfast/shared/fault.ts";

const run = promisify(execFile);
/** Who may own the data when user namespaces are forbidden, in this order. */
const FALLBACK_USERS = ["postgres", "nobody"];
const PROBE_MS_MAX = 5_000;

export type Launcher = Readonly<{
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Makes a directory usable for the programs. */
  adopt(dir: string): Promise<void>;
}>;

/** Nothing of the hub's environment reaches PostgreSQL. */
const ENV = { PATH: "/usr/bin:/bin", LANG: "C", LC_ALL: "C", TZ: "UTC" };

/** Throws FAILED_PRECONDITION `POSTGRES_AS_ROOT` where there is no way. */
export async function findLauncher(uid: number): Promise<Launcher> {
  if (uid !== 0) return direct({});
  const mayUnshare = await run("unshare", ["--user", "--", "true"], { timeout: PROBE_MS_MAX }).then(
    () => true,
    () => false,
  );
  if (mayUnshare) {
    return {
      spawn: (program, args, options) =>
        spawn("unshare", ["--user", "--", program, ...args], { ...options, env: ENV }),
      adopt: async () => undefined,
    };
  }
  const passwd = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of FALLBACK_USERS) {
    const entry = passwd.find(([user]) => user === name);
    if (entry !== undefined) return direct({ uid: Number(entry[2]), gid: Number(entry[3]) });
  }
  throw new Fault(
    "FAILED_PRECONDITION",
    "POSTGRES_AS_ROOT",
    "PostgreSQL does not run as root, and neither a user namespace nor an unprivileged user is available",
    { next: "run the hub as an ordinary user, or set database_url" },
  );
}

function direct(as: Readonly<{ uid?: number; gid?: number }>): Launcher {
  return {
    spawn: (program, args, options) => spawn(program, args, { ...options, ...as, env: ENV }),
    adopt: async (dir) => {
      if (as.uid !== undefined && as.gid !== undefined) await chown(dir, as.uid, as.gid);
    },
  };
}
