/**
 * Installs the workspace's packages from the frozen lock file: what runs (`run`), or the test, lint and bench tools as
 * well (`all`). What is there is never made less: after a test run, a start keeps the test tools.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { run } from "./run.mjs";
import { checkSpace, SPACE_BYTES_MIN } from "./space.mjs";

const STAMP = "node_modules/.holdfast-packages";
/** What decides about the content of node_modules, relative to the checkout. */
const INPUTS = ["pnpm-lock.yaml", "pnpm-workspace.yaml", "scripts/toolchain/package-lock.json"];
const PNPM_ARGS = [
  "install",
  "--frozen-lockfile",
  "--reporter=append-only",
  "--config.confirm-modules-purge=false",
  "--config.fetch-retries=2",
  "--config.fetch-retry-mintimeout=1000",
  "--config.fetch-retry-maxtimeout=4000",
];

/** @typedef {"run" | "all"} Mode */
/** @typedef {{mode: Mode, inputs: string}} Stamp `inputs` is the digest of INPUTS, or "unfinished". */

/**
 * @param {string} root
 * @param {Mode} mode
 */
export function arePackagesReady(root, mode) {
  const stamp = readStamp(root);
  return stamp !== undefined && stamp.inputs === inputsOf(root) && covers(stamp.mode, mode);
}

/**
 * Throws a SetupProblem when it cannot be done; the next run then starts again. Call it under the lock.
 * @param {import("./toolchain.mjs").Place} place
 * @param {Mode} mode
 */
export async function installPackages({ root, env, say }, mode) {
  const held = readStamp(root)?.mode;
  const wanted = held === "all" ? "all" : mode;
  if (held === undefined) checkSpace(root, SPACE_BYTES_MIN[wanted], "the packages");
  const bin = join(root, ".toolchain/node_modules/.bin");
  say(`installing packages${wanted === "all" ? " with the test tools" : ""}`);
  if (held !== undefined) writeStamp(root, { mode: held, inputs: "unfinished" });
  const { NODE_ENV: _, ...others } = env; // "production" would leave the test tools out.
  await run({
    command: join(bin, "pnpm"),
    args: wanted === "run" ? [...PNPM_ARGS, "--prod"] : PNPM_ARGS,
    cwd: root,
    env: { ...others, CI: "true", PATH: `${bin}${delimiter}${env["PATH"] ?? ""}` },
    program: "pnpm",
    what: "the packages",
  });
  writeStamp(root, { mode: wanted, inputs: inputsOf(root) });
}

/**
 * @param {Mode} held
 * @param {Mode} wanted
 */
function covers(held, wanted) {
  return held === "all" || held === wanted;
}

/**
 * What node_modules is known to hold; a stamp that cannot be read counts as none.
 * @param {string} root
 * @returns {Stamp | undefined}
 */
function readStamp(root) {
  try {
    return JSON.parse(readFileSync(join(root, STAMP), "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * @param {string} root
 * @param {Stamp} stamp
 */
function writeStamp(root, stamp) {
  writeFileSync(join(root, STAMP), JSON.stringify(stamp));
}

/** @param {string} root */
function inputsOf(root) {
  const hash = createHash("sha256");
  for (const file of INPUTS) hash.update(readFileSync(join(root, file)));
  return hash.digest("hex");
}
