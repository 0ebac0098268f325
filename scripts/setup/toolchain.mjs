/**
 * Brings the pinned Node and pnpm into `.toolchain`: into a directory beside it first, which takes its place whole or
 * not at all. What is there is believed only with the stamp that is written last.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SetupProblem } from "./problem.mjs";
import { run } from "./run.mjs";
import { checkSpace, SPACE_BYTES_MIN } from "./space.mjs";

const STAMP = "holdfast-toolchain";
const PINS = ["package.json", "package-lock.json"];
/** Where others find the programs; npm links Node there, and this set-up pnpm. */
const BIN = "node_modules/.bin";
/** Fails within about 10 s where nothing answers; npm's own defaults take more than a minute. */
const NPM_ARGS = [
  "ci",
  "--ignore-scripts",
  "--no-audit",
  "--no-fund",
  "--no-update-notifier",
  "--loglevel=error",
  "--fetch-retries=2",
  "--fetch-retry-mintimeout=1000",
  "--fetch-retry-maxtimeout=4000",
];

/**
 * @typedef {{root: string, arch: string, env: NodeJS.ProcessEnv, say: (line: string) => void}} Place
 *   the checkout, the machine's architecture, the environment for npm and pnpm, and where progress goes.
 */

/**
 * Whether `.toolchain` is whole and of the pinned versions. Reads three small files and runs nothing.
 * @param {Pick<Place, "root" | "arch">} place
 */
export function isToolchainReady({ root, arch }) {
  const directory = join(root, ".toolchain");
  return (
    existsSync(join(directory, BIN, "node")) &&
    existsSync(join(directory, BIN, "pnpm")) &&
    existsSync(join(directory, STAMP)) &&
    readFileSync(join(directory, STAMP), "utf8") === stampOf(root, arch)
  );
}

/**
 * Throws a SetupProblem when it cannot be done, and leaves what was there as it was. Call it under the lock.
 * @param {Place} place
 */
export async function installToolchain(place) {
  const directory = join(place.root, ".toolchain");
  const partial = join(place.root, ".toolchain.partial");
  const old = join(place.root, ".toolchain.old");
  for (const left of [partial, old]) rmSync(left, { recursive: true, force: true });
  try {
    await fill(partial, place);
    if (existsSync(directory)) renameSync(directory, old);
    renameSync(partial, directory);
  } finally {
    for (const left of [partial, old]) rmSync(left, { recursive: true, force: true });
  }
}

/**
 * @param {string} partial
 * @param {Place} place
 */
async function fill(partial, { root, arch, env, say }) {
  const [manifest, lock] = PINS.map((file) => readJson(join(root, "scripts/toolchain", file)));
  const pins = pinsFor(arch, manifest, lock);
  const node = pins.manifest.dependencies[`node-linux-${arch}`];
  const what = `Node ${node} and pnpm ${pins.manifest.dependencies[`@pnpm/exe.linux-${arch}`]}`;
  checkSpace(root, SPACE_BYTES_MIN.toolchain, what);
  say(`bringing ${what} into .toolchain`);
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, "package.json"), JSON.stringify(pins.manifest, null, 2));
  writeFileSync(join(partial, "package-lock.json"), JSON.stringify(pins.lock, null, 2));
  // Said outright, since `npm --prefix CHECKOUT start` hands its own prefix down in the environment.
  const args = [...NPM_ARGS, "--prefix", partial, "--no-global"];
  await run({ command: "npm", args, cwd: partial, env, program: "npm", what });
  symlinkSync(`../@pnpm/exe.linux-${arch}/pnpm`, join(partial, BIN, "pnpm"));
  checkNode(join(partial, BIN, "node"), `v${node}`);
  writeFileSync(join(partial, STAMP), stampOf(root, arch));
}

/**
 * The pins of one architecture, no longer optional: npm passes over an optional package that it could not download
 * and calls that a success.
 * @param {string} arch
 * @param {any} manifest scripts/toolchain/package.json
 * @param {any} lock scripts/toolchain/package-lock.json
 * @returns {{manifest: {dependencies: Record<string, string>}, lock: {packages: Record<string, any>, [key: string]: unknown}}}
 */
export function pinsFor(arch, manifest, lock) {
  const names = Object.keys(manifest.optionalDependencies).filter((name) =>
    name.endsWith(`-${arch}`),
  );
  const dependencies = Object.fromEntries(
    names.map((name) => [name, manifest.optionalDependencies[name]]),
  );
  const locked = names.map((name) => {
    const { optional: _, ...rest } = lock.packages[`node_modules/${name}`];
    return [`node_modules/${name}`, rest];
  });
  const own = { name: manifest.name, private: true, dependencies };
  const packages = { "": { name: manifest.name, dependencies }, ...Object.fromEntries(locked) };
  return {
    manifest: own,
    lock: { name: manifest.name, lockfileVersion: 3, requires: true, packages },
  };
}

/**
 * The programs come as built for a C library of a certain age: better one sentence here than a loader's error later.
 * @param {string} path
 * @param {string} version
 */
function checkNode(path, version) {
  const { stdout, stderr, error } = spawnSync(path, ["--version"], { encoding: "utf8" });
  if (error === undefined && stdout.trim() === version) return;
  const said = (error?.message ?? stderr).trim().split("\n")[0];
  throw new SetupProblem(
    `The toolchain's Node ${version} does not run on this machine (${said}); a Linux with glibc 2.28 or newer is needed.`,
  );
}

/** @param {string} path */
function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/**
 * @param {string} root
 * @param {string} arch
 */
function stampOf(root, arch) {
  const hash = createHash("sha256").update(arch);
  for (const file of PINS) hash.update(readFileSync(join(root, "scripts/toolchain", file)));
  return hash.digest("hex");
}
