/**
 * Starts the command line from one bundle, which loads several times faster than its sources. The bundle is made at
 * the first use and again whenever one of its files differs from what it was made of; where that cannot be done, the
 * sources run as they are. So what runs is never older than what is there. CommonJS, which Node loads fastest.
 */
const { dirname, join } = require("node:path");
const { pathToFileURL } = require("node:url");
const { freshBundle } = require("./cli/stamp.mjs");

const root = dirname(__dirname);

async function entry() {
  const bundle = freshBundle(root);
  if (bundle !== undefined) return bundle;
  const { makeBundle } = await import("./cli/bundle.mjs");
  return (await makeBundle(root)) ?? join(root, "hub/cli/src/main.ts");
}

void entry().then((path) => import(pathToFileURL(path).href));
