/**
 * Node's built-ins in a bundle. An import of one loads it, and makes Node read each of its exports besides: 20 ms for
 * node:process alone, and node:http brings the whole of `fetch`. Here one is loaded when one of its names is first
 * used, which for most is never.
 */
import { builtinModules } from "node:module";

export const BUILT_INS = {
  name: "built-ins",
  /** @param {any} build */
  setup(build) {
    const names = new RegExp(`^(node:.+|${builtinModules.join("|")})$`);
    build.onResolve({ filter: names }, (/** @type {{path: string}} */ { path }) => {
      return { path: path.replace(/^node:/, ""), namespace: "built-in", sideEffects: false };
    });
    build.onLoad(
      { filter: /./, namespace: "built-in" },
      (/** @type {{path: string}} */ { path }) => {
        return { contents: lateModule(path) };
      },
    );
  },
};

/** @param {string} name */
function lateModule(name) {
  const found = `process.getBuiltinModule("node:${name}")`;
  const exported = process.getBuiltinModule(`node:${name}`);
  // Some are functions, which can be extended and called.
  if (exported === undefined || typeof exported === "function") return `module.exports = ${found};`;
  const names = Object.getOwnPropertyNames(exported).filter((each) =>
    /^[A-Za-z_$][\w$]*$/.test(each),
  );
  const getters = names.map((each) => `get ${each}() { return (found ??= ${found}).${each}; },`);
  return `let found;\nmodule.exports = {\n${getters.join("\n")}\n};`;
}
