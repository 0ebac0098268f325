/** Says whether the hub could serve, and if not, why: configuration, runtime, key file, ports, database. Changes nothing. */
import { randomUUID } from "node:crypto";
import { access, constants, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { asFault, describeViolation } from "@holdfast/shared/fault.ts";
import { errnoMeaning, type ListenAddress } from "@holdfast/shared/settings.ts";
import type { HubConfig } from "./config.ts";
import { type DatabaseHost, listenConnection } from "./open-database.ts";
import { isPrivateMode, readKeyFile } from "./secrets.ts";
import { type Connection, type Database, openDatabase } from "./store/database.ts";
import { readMigrations, serveProblems } from "./store/migrate.ts";
import { tryNotices } from "./store/notices.ts";

export type Finding = Readonly<{
  check: string;
  ok: boolean;
  message: string;
  next?: string;
}>;

export type DoctorReport = Readonly<{ healthy: boolean; findings: readonly Finding[] }>;

export type DoctorHost = Omit<DatabaseHost, "log"> & Readonly<{ nodeVersion: string }>;

export const NODE_MAJOR_MIN = 24;

/** `version` such as 24.21.0. */
export function isNodeNew(version: string): boolean {
  return Number(version.split(".")[0]) >= NODE_MAJOR_MIN;
}

export async function doctor(
  readConfig: () => Promise<HubConfig>,
  host: DoctorHost,
): Promise<DoctorReport> {
  const findings: Finding[] = [node(host.nodeVersion)];
  const config = await readConfig().catch((error: unknown) => {
    findings.push(failed("config", error));
    return undefined;
  });
  if (config !== undefined) {
    findings.push({ check: "config", ok: true, message: "every setting is known and well formed" });
    findings.push(await dataDir(config), await keyFile(config));
    const isRunning = await isServing(config);
    for (const [check, address] of [
      ["api_listen", config.apiListen],
      ["link_listen", config.linkListen],
      ["identity_listen", config.identityListen],
    ] as const) {
      findings.push(isRunning ? inUse(check, address) : await port(check, address));
    }
    findings.push(...(await database(config, host)));
  }
  return { healthy: findings.every(({ ok }) => ok), findings };
}

export function doctorText({ findings }: DoctorReport): string {
  return findings
    .map(({ check, ok, message, next }) => {
      const line = `${ok ? "ok  " : "FAIL"}  ${check}: ${message}`;
      return next === undefined ? line : `${line}\n      next: ${next}`;
    })
    .join("\n");
}

function node(version: string): Finding {
  const ok = isNodeNew(version);
  const message = ok ? version : `got ${version}; ${NODE_MAJOR_MIN} or newer is needed`;
  return { check: "node", ok, message };
}

async function dataDir({ dataDir: path }: HubConfig): Promise<Finding> {
  const check = "data_dir";
  try {
    const { mode } = await stat(path);
    await access(path, constants.W_OK);
    const octal = (mode & 0o777).toString(8).padStart(4, "0");
    if (isPrivateMode(mode)) return { check, ok: true, message: `${path} (${octal})` };
    return {
      check,
      ok: false,
      message: `${path} has mode ${octal}; allowed: 0700`,
      next: `chmod 700 ${path}`,
    };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return { check, ok: true, message: `${path} is not there yet; serve makes it` };
    }
    return { check, ok: false, message: `${path}: ${errnoMeaning(error)}` };
  }
}

async function keyFile({ keyFile: path }: HubConfig): Promise<Finding> {
  const check = "key_file";
  try {
    await stat(path);
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (isAbsent) return { check, ok: true, message: `${path} is not there yet; serve makes it` };
  }
  try {
    readKeyFile(path, false);
    return { check, ok: true, message: path };
  } catch (error) {
    return failed(check, error);
  }
}

async function isServing({ dataDir: path }: HubConfig): Promise<boolean> {
  return stat(join(path, "endpoints.json")).then(
    () => true,
    () => false,
  );
}

function inUse(check: string, { host, port: number }: ListenAddress): Finding {
  return { check, ok: true, message: `${host}:${number}; a hub serves from this directory` };
}

async function port(check: string, { host, port: number }: ListenAddress): Promise<Finding> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(number, host, resolve);
    });
    return { check, ok: true, message: `${host}:${number} is free` };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const why = code === "EADDRINUSE" ? "another program listens there" : errnoMeaning(error);
    return { check, ok: false, message: `${host}:${number}: ${why}` };
  } finally {
    server.close();
  }
}

/** The private cluster is checked by its files only: to start it would be to change something. */
async function database(config: HubConfig, host: DoctorHost): Promise<readonly Finding[]> {
  const check = "database";
  const { databaseUrl, keyDatabaseUrl } = config;
  if (databaseUrl === undefined) {
    const path = join(config.dataDir, "pgdata");
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    const message = isThere
      ? `private cluster in ${path}`
      : `private cluster; serve makes it in ${dirname(path)}`;
    return [{ check, ok: true, message }];
  }
  if (keyDatabaseUrl === undefined) {
    return [{ check, ok: false, message: "key_database_url is required beside database_url" }];
  }
  const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const log = { ...quiet, child: () => log };
  try {
    const app = { url: databaseUrl };
    const opened = await openDatabase({ ...host, log, app, key: { url: keyDatabaseUrl } });
    try {
      const problems = await serveProblems(opened, await readMigrations());
      if (problems.length > 0) return problems.map((problem) => failed(check, problem));
      const message = "reachable; roles, schema and clock are as they should be";
      return [{ check, ok: true, message }, ...(await notices(opened, listenConnection(config)))];
    } finally {
      await opened.close();
    }
  } catch (error) {
    return [failed(check, error)];
  }
}

/** Said as another process of this hub would, and heard as by this one. */
async function notices(
  opened: Database,
  connection: Connection | undefined,
): Promise<readonly Finding[]> {
  const check = "listen_database_url";
  if (connection === undefined) return [];
  try {
    await tryNotices(opened, connection, `doctor ${randomUUID()}`);
    return [{ check, ok: true, message: "notices of other hub processes arrive" }];
  } catch (error) {
    return [failed(check, error)];
  }
}

function failed(check: string, error: unknown): Finding {
  const { message, violations, next } = asFault(error, "it cannot be checked");
  const text = violations.length > 1 ? violations.map(describeViolation).join("; ") : message;
  return { check, ok: false, message: text, ...(next === undefined ? {} : { next }) };
}
