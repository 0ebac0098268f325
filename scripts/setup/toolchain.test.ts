/** What the set-up asks npm for: the pins of one architecture, with their integrity, and none of them optional. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { pinsFor } from "./toolchain.mjs";

const read = (file: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../toolchain", file), "utf8"));

describe("pinsFor", () => {
  it.each(["x64", "arm64"])("gives Node and pnpm of %s", (arch) => {
    const { manifest, lock } = pinsFor(arch, read("package.json"), read("package-lock.json"));
    const names = [`@pnpm/exe.linux-${arch}`, `node-linux-${arch}`];
    expect(Object.keys(manifest.dependencies)).toEqual(names);
    const locked = names.map((name) => [
      `node_modules/${name}`,
      expect.objectContaining({
        version: manifest.dependencies[name],
        integrity: expect.stringMatching(/^sha512-/),
      }),
    ]);
    const { "": _, ...packages } = lock.packages;
    expect(packages).toEqual(Object.fromEntries(locked));
    expect(JSON.stringify(lock)).not.toContain('"optional"');
  });
});
