/**
 * The set-up's failures, each one sentence for a person: what cannot be done, and what to do about it. Pure: it
 * judges facts and the output of npm and pnpm, and runs nothing. Plain JavaScript of Node 18, like all of scripts/setup.
 */

/** A failure whose message is shown as it is; every other error is a fault of the set-up itself. */
export class SetupProblem extends Error {}

/** The platforms for which the toolchain's programs are pinned, as `process.platform` and `process.arch` say them. */
export const PLATFORMS = ["linux-x64", "linux-arm64"];

/**
 * @param {{platform: string, arch: string, glibc: string | undefined}} machine `glibc` is absent where the C library is another one.
 * @returns {string | undefined} one sentence when Holdfast does not run on the machine.
 */
export function platformProblem({ platform, arch, glibc }) {
  if (!PLATFORMS.includes(`${platform}-${arch}`)) {
    return `Holdfast runs on Linux on x64 or arm64, and this machine is ${platform} on ${arch}; use a Linux machine, a virtual one will do.`;
  }
  if (glibc === undefined) {
    return "Holdfast needs a Linux with the GNU C library, and this one has another (musl?); use for example Debian, Ubuntu or Fedora.";
  }
  return undefined;
}

const NO_SPACE = /ENOSPC|no space left on device|os error 28/i;
const NO_PERMISSION = /\bEACCES\b|\bEROFS\b|permission denied|read-only file system/i;
const NO_NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b|error sending request|dns error|network request .* failed/i;
const BAD_CONTENT = /\bEINTEGRITY\b|ERR_PNPM_TARBALL_INTEGRITY|integrity check/i;
const STALE_LOCK = /ERR_PNPM_OUTDATED_LOCKFILE|can only install packages when your package\.json/;

/**
 * The one sentence for a failed run of npm or pnpm.
 * @param {{program: string, what: string, directory: string, exit: string, output: string}} failed
 *   `what` it was to bring, `exit` how it ended ("exit code 1"), `output` the end of what it printed.
 */
export function explainFailure({ program, what, directory, exit, output }) {
  if (NO_SPACE.test(output)) return noSpaceLeft(what, directory);
  if (NO_PERMISSION.test(output)) {
    return `${program} may not write ${what} in ${directory}; make that directory writable for you and run the command again.`;
  }
  if (BAD_CONTENT.test(output)) {
    return `What ${program} downloaded for ${what} is not what the lock file pins, so it was not installed; check the npm registry or proxy that you use.`;
  }
  const network = NO_NETWORK.exec(output);
  if (network !== null) {
    return `${program} cannot reach the npm registry for ${what} (${network[0]}); check the network or the proxy and run the command again.`;
  }
  if (STALE_LOCK.test(output)) {
    return "pnpm-lock.yaml does not match a package.json; run `pnpm install` with the toolchain's pnpm and commit both.";
  }
  return `${program} could not install ${what} in ${directory} (${exit}); what it printed last is above.`;
}

/**
 * @param {string} what
 * @param {string} directory
 */
export function noSpaceLeft(what, directory) {
  return `There is no space left for ${what} in ${directory}; free about 1 GB there and run the command again.`;
}
