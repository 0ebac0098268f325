/**
 * Of what a bundle was made: its files with the times at which they changed, which nobody sets by hand, so that a
 * copied or restored file is noticed as well as an edited one. Looking costs a few milliseconds.
 */
// Imports of built-ins read all that they export, which takes longer than all that is done here.
const { readFileSync, statSync } = process.getBuiltinModule("node:fs");

export const BUNDLES = "hub/cli/dist";
const STAMP = "current.json";

/** @typedef {{node: string, entry: string, inputs: Record<string, number>}} Stamp `inputs`: path to time, ms. */

/**
 * The entry of a bundle that is made of what is there now.
 * @param {string} root
 * @returns {string | undefined}
 */
export function freshBundle(root) {
  try {
    const stamp = /** @type {Stamp} */ (JSON.parse(readFileSync(stampPath(root), "utf8")));
    if (stamp.node !== process.version) return undefined;
    for (const path in stamp.inputs) {
      if (changedAt(root, path) !== stamp.inputs[path]) return undefined;
    }
    const entry = `${root}/${stamp.entry}`;
    return statSync(entry).isFile() ? entry : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string} root */
export function stampPath(root) {
  return `${root}/${BUNDLES}/${STAMP}`;
}

/**
 * @param {string} root
 * @param {string} path
 */
export function changedAt(root, path) {
  return statSync(`${root}/${path}`).ctimeMs;
}
