/** The command line's bundle: made once, used while it is right, and never when one of its files is another. */
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { esbuildOf, makeBundle, optionsOf } from "./bundle.mjs";
import { freshBundle } from "./stamp.mjs";

/** As far as it is looked at here. */
type Metafile = Readonly<{
  inputs: Readonly<
    Record<string, { format?: string; imports: readonly { path: string; kind: string }[] }>
  >;
}>;

const checkout = join(import.meta.dirname, "../..");
let root: string;

const put = (path: string, text: string) => writeFileSync(join(root, path), text);
const says = (bundle: string | undefined) =>
  execFileSync(process.execPath, [bundle ?? ""], { encoding: "utf8" });

/** Bundles once the files are old enough to be told from what changes while they are read. */
function bundled(): Promise<string> {
  return expect
    .poll(async () => {
      await makeBundle(root);
      return freshBundle(root);
    })
    .not.toBeUndefined()
    .then(() => freshBundle(root) ?? "");
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
  for (const folder of ["hub/cli/src", "scripts/cli", "node_modules"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  symlinkSync(join(checkout, "hub/cli/node_modules"), join(root, "hub/cli/node_modules"));
  for (const file of [
    "hub/cli/package.json",
    "pnpm-lock.yaml",
    "scripts/cli/bundle.mjs",
    "scripts/cli/built-ins.mjs",
    "scripts/cli/headers.mjs",
  ]) {
    put(file, "{}");
  }
  put("node_modules/.modules.yaml", "");
  put("hub/cli/src/word.ts", 'export const word: string = "one";\n');
  put("hub/cli/src/main.ts", 'console.log((await import("./word.ts")).word);\n');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("the bundle", () => {
  it("is not there before it is made, and stays while nothing changes", async () => {
    expect(freshBundle(root)).toBeUndefined();
    const bundle = await bundled();
    expect(says(bundle)).toBe("one\n");
    expect(freshBundle(root)).toBe(bundle);
  });

  it("is made again for a file that another one loads late, and earlier runs keep theirs", async () => {
    const first = await bundled();
    put("hub/cli/src/word.ts", 'export const word: string = "two";\n');
    expect(freshBundle(root)).toBeUndefined();
    expect(says(await bundled())).toBe("two\n");
    expect(says(first)).toBe("one\n");
  });

  it.each(["hub/cli/src/word.ts", "pnpm-lock.yaml"])(
    "is not taken for right when %s is replaced by one with the same time",
    async (path) => {
      await bundled();
      const { atimeMs, mtimeMs } = statSync(join(root, path));
      put(path, "// another\n");
      utimesSync(join(root, path), atimeMs / 1_000, mtimeMs / 1_000);
      expect(freshBundle(root)).toBeUndefined();
    },
  );

  it("is not taken for right when a file of it is gone", async () => {
    const bundle = await bundled();
    rmSync(bundle);
    expect(freshBundle(root)).toBeUndefined();
    await bundled();
    rmSync(join(root, "hub/cli/src/word.ts"));
    expect(freshBundle(root)).toBeUndefined();
  });

  it("loads no CommonJS library late by itself, whose names a bundle does not keep", async () => {
    const options = { ...optionsOf(checkout, "none"), write: false };
    const { metafile } = (await esbuildOf(checkout).build(options)) as { metafile: Metafile };
    const late = Object.entries(metafile.inputs).flatMap(([file, { imports }]) =>
      imports
        .filter(({ path, kind }) => {
          return kind === "dynamic-import" && metafile.inputs[path]?.format === "cjs";
        })
        .map(({ path }) => `${file} loads ${path}`),
    );
    expect(Object.keys(metafile.inputs)).toContain("hub/cli/src/main.ts");
    expect(late).toEqual([]);
  });

  it("is none where sources cannot be bundled", async () => {
    put("hub/cli/src/word.ts", "export const word = (;\n");
    expect(await makeBundle(root)).toBeUndefined();
    expect(freshBundle(root)).toBeUndefined();
  });
});
