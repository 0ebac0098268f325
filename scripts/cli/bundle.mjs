/**
 * Makes the command line's bundle: one file for the start and one for what each command needs besides. It is written
 * to a folder of its own and then pointed to, so that a run which has begun with another one still finds its files.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { BUILT_INS } from "./built-ins.mjs";
import { BUNDLES, changedAt, stampPath } from "./stamp.mjs";

const ENTRY = "hub/cli/src/main.ts";
/** What decides about the content besides the files that are read. */
const CONFIGURATION = [
  ...["hub/cli/package.json", "pnpm-lock.yaml", "node_modules/.modules.yaml"],
  ...["scripts/cli/bundle.mjs", "scripts/cli/built-ins.mjs", "scripts/cli/headers.mjs"],
];
/** Times of files lag behind the clock by less. */
const CLOCK_MS = 20;
/** Nothing runs that long without having loaded all it needs. */
const KEPT_MS = 86_400_000;
/**
 * The rules of requests are the hub's to judge. Their own descriptors are two thirds of what all messages cost at the
 * start, so that the bundle has an empty file in their place; options that nobody reads stay bytes.
 */
const NO_RULES = {
  name: "no-rules",
  /** @param {any} build */
  setup(build) {
    build.onLoad({ filter: /\/buf\/validate\/validate_pb\.js$/ }, () => {
      const wkt = '"@bufbuild/protobuf/wkt"';
      return {
        contents: `import { fileDesc } from "@bufbuild/protobuf/codegenv2";
          import { file_google_protobuf_descriptor as descriptor } from ${wkt};
          export const file_buf_validate_validate = fileDesc("${EMPTY_VALIDATE}", [descriptor]);`,
      };
    });
  },
};

/** `name: "buf/validate/validate.proto", package: "buf.validate", syntax: "proto2"` as a FileDescriptorProto. */
const EMPTY_VALIDATE = Buffer.concat(
  [
    [1, "buf/validate/validate.proto"],
    [2, "buf.validate"],
    [3, "google/protobuf/descriptor.proto"],
    [12, "proto2"],
  ].map(([field, text]) => {
    const bytes = Buffer.from(String(text));
    return Buffer.concat([Buffer.from([Number(field) * 8 + 2, bytes.length]), bytes]);
  }),
).toString("base64");

/**
 * The new bundle's entry; undefined where none can be made, such as in a folder that may only be read.
 * @param {string} root
 * @returns {Promise<string | undefined>}
 */
export async function makeBundle(root) {
  const folder = `${BUNDLES}/${Date.now().toString(36)}-${process.pid}`;
  try {
    const before = Date.now();
    const { metafile } = await esbuildOf(root).build(optionsOf(root, folder));
    // Packages do not change but by an installation, which their list tells.
    const files = Object.keys(metafile.inputs).filter(
      (path) => !/^(built-in:|node_modules\/)/.test(path),
    );
    const paths = [...files, ...CONFIGURATION];
    const inputs = Object.fromEntries(paths.map((path) => [path, changedAt(root, path)]));
    // What was changed while it was read may be in it or not: the next start looks again.
    const isWhole = Object.values(inputs).every((time) => time < before - CLOCK_MS);
    if (isWhole) publish(root, { node: process.version, entry: `${folder}/main.mjs`, inputs });
    removeOld(root, folder);
    return join(root, folder, "main.mjs");
  } catch {
    rmSync(join(root, folder), { recursive: true, force: true });
    return undefined;
  }
}

/**
 * @param {string} root
 * @returns {any}
 */
export function esbuildOf(root) {
  return createRequire(join(root, "hub/cli/package.json"))("esbuild");
}

/**
 * @param {string} root
 * @param {string} folder
 */
export function optionsOf(root, folder) {
  return {
    absWorkingDir: root,
    entryPoints: [ENTRY],
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    metafile: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    plugins: [BUILT_INS, NO_RULES],
    inject: [join(import.meta.dirname, "headers.mjs")],
    logLevel: "silent",
  };
}

/**
 * @param {string} root
 * @param {import("./stamp.mjs").Stamp} stamp
 */
function publish(root, stamp) {
  const path = stampPath(root);
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(stamp));
  renameSync(draft, path);
}

/**
 * @param {string} root
 * @param {string} kept
 */
function removeOld(root, kept) {
  const folder = join(root, BUNDLES);
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const isOld = Date.now() - statSync(path).mtimeMs > KEPT_MS;
    if (isOld && path !== join(root, kept) && path !== stampPath(root)) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}
