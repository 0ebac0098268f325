/**
 * Builds every release of the worker into an artefact directory of its own: `dist/1.0.0/worker.mjs` and so on, one
 * file each, with `pg` inside. The same sources give the same bytes on every machine.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ENTRIES = { "1.0.0": "release-1.0.ts", "1.1.0": "release-1.1.ts", "1.2.0": "release-1.2.ts" };

const WORKER = "worker.mjs";

/** Versions that `buildReleases` makes. */
export const VERSIONS = Object.keys(ENTRIES);

/**
 * Makes `<directory>/<version>` for each version; leaves nothing else in them than worker.mjs, which is there as a whole at
 * every moment: somebody else may be publishing it.
 */
export async function buildReleases(directory: string): Promise<void> {
  for (const [version, entry] of Object.entries(ENTRIES)) {
    const folder = join(directory, version);
    await mkdir(folder, { recursive: true });
    const draft = join(directory, `.${version}-${randomUUID()}`);
    await build({
      absWorkingDir: HERE, // Paths in the output are relative to this.
      entryPoints: [join("src", entry)],
      outfile: draft,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node24",
      external: ["pg-native"],
      legalComments: "eof",
      logLevel: "warning",
      // `pg` is CommonJS and asks for built-in modules at run time.
      banner: {
        js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
      },
    });
    await rename(draft, join(folder, WORKER));
    const others = (await readdir(folder)).filter((name) => name !== WORKER);
    for (const name of others) await rm(join(folder, name), { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const directory = join(HERE, "dist");
  await buildReleases(directory);
  for (const version of VERSIONS) {
    console.log(
      `${join("dist", version)}: ${(await readdir(join(directory, version))).join(", ")}`,
    );
  }
}
