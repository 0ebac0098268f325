/**
 * The agent as it ships: one bundled file and the SQLite addon of one platform, what starts them, and the manifest that
 * says its version. Runs on any Node 24, without a package manager and without the checkout.
 * usage: node scripts/agent/bundle.mjs FOLDER [linux-x64|linux-arm64]
 */
import { chmodSync, copyFileSync, mkdirSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BUILT_INS } from "../cli/built-ins.mjs";
import { esbuildOf } from "../cli/bundle.mjs";

const ROOT = join(import.meta.dirname, "../..");
/** Those that the agent runs on. */
export const PLATFORMS = ["linux-x64", "linux-arm64"];

/** Libraries of the CommonJS kind ask for Node's modules by `require`. */
const REQUIRE =
  'const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);';

/** Without engines over SSH and builds of images: parts of the Docker library that no agent uses, with addons of their own. */
const DOCKER_LIBRARY = {
  name: "docker-library",
  /** @param {any} build */
  setup(build) {
    build.onResolve(
      { filter: /^(ssh2|@grpc\/proto-loader)$/ },
      (/** @type {{path: string}} */ { path }) => ({ path, namespace: "left-out" }),
    );
    // It makes an object of its own from Node's module and sets fields of that, which one with getters alone refuses.
    build.onResolve(
      { filter: /^https?$/ },
      (/** @type {{path: string, importer: string}} */ { path, importer }) =>
        importer.includes("/docker-modem/") ? { path: `node:${path}`, external: true } : undefined,
    );
    build.onLoad({ filter: /./, namespace: "left-out" }, () => ({
      contents: "module.exports = {};",
    }));
  },
};

/**
 * Gives the program; what it needs lies beside it.
 * @param {string} folder
 * @param {string} [platform]
 * @returns {Promise<string>}
 */
export async function bundleAgent(folder, platform = `${process.platform}-${process.arch}`) {
  if (!PLATFORMS.includes(platform)) {
    throw new Error(`platform: got ${platform}; allowed: ${PLATFORMS.join(", ")}`);
  }
  mkdirSync(folder, { recursive: true });
  await esbuildOf(ROOT).build({
    absWorkingDir: join(ROOT, "agent"),
    entryPoints: { agent: "src/main.ts" },
    outdir: join(resolve(folder), "bin"),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    // The addon of this platform alone, by the entry that names it.
    alias: { "better-sqlite3": `./node_modules/better-sqlite3/lib/${platform}.js` },
    loader: { ".node": "copy" },
    assetNames: "[name]",
    banner: { js: REQUIRE },
    plugins: [DOCKER_LIBRARY, BUILT_INS],
    logLevel: "warning",
  });
  copyFileSync(join(ROOT, "agent/package.json"), join(folder, "package.json"));
  copyFileSync(join(ROOT, "agent/start.sh"), join(folder, "bin/start.sh"));
  const program = join(folder, "bin/holdfast-agent");
  copyFileSync(join(import.meta.dirname, "launcher.sh"), program);
  chmodSync(program, 0o755);
  return program;
}

const [, program = "", folder, platform] = process.argv;
if (realpathSync(program) === fileURLToPath(import.meta.url)) {
  if (folder === undefined) {
    console.error("usage: node scripts/agent/bundle.mjs FOLDER [linux-x64|linux-arm64]");
    process.exitCode = 2;
  } else {
    console.log(await bundleAgent(folder, platform));
  }
}
