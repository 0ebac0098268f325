/**
 * Makes the checkout ready to run: the pinned toolchain in `.toolchain`, then the packages. Run by whatever Node the
 * machine has, from 18 on, with its built-ins alone; changes nothing outside the checkout but the package caches.
 * usage: node scripts/setup.mjs run|all
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./setup/lock.mjs";
import { arePackagesReady, installPackages } from "./setup/packages.mjs";
import { explainFailure, platformProblem, SetupProblem } from "./setup/problem.mjs";
import { installToolchain, isToolchainReady } from "./setup/toolchain.mjs";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

/** @param {string | undefined} mode */
async function main(mode) {
  if (mode !== "run" && mode !== "all") {
    console.error("usage: node scripts/setup.mjs run|all");
    return EXIT_USAGE;
  }
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  try {
    await setUp(root, mode);
    return 0;
  } catch (error) {
    console.error(`error: ${sentenceOf(error, root)}`);
    return EXIT_FAILURE;
  }
}

/**
 * @param {string} root
 * @param {import("./setup/packages.mjs").Mode} mode
 */
async function setUp(root, mode) {
  const { platform, arch, env } = process;
  const problem = platformProblem({ platform, arch, glibc: glibcVersion() });
  if (problem !== undefined) throw new SetupProblem(problem);
  /** @param {string} line */
  const say = (line) => console.error(`set-up: ${line}`);
  const place = { root, arch, env, say };
  if (isToolchainReady(place) && arePackagesReady(root, mode)) return;
  const started = Date.now();
  await withLock(`${root}/.toolchain.lock`, say, async () => {
    if (!isToolchainReady(place)) await installToolchain(place);
    if (!arePackagesReady(root, mode)) await installPackages(place, mode);
  });
  say(`ready after ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** @returns {string | undefined} */
function glibcVersion() {
  const report = /** @type {any} */ (process.report?.getReport());
  return report?.header?.glibcVersionRuntime;
}

/**
 * @param {unknown} error
 * @param {string} directory
 */
function sentenceOf(error, directory) {
  if (error instanceof SetupProblem) return error.message;
  const output = error instanceof Error ? `${error.stack}` : String(error);
  return explainFailure({
    program: "The set-up",
    what: "its files",
    directory,
    exit: output,
    output,
  });
}

process.exitCode = await main(process.argv[2]);
