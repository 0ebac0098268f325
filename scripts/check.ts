/**
 * The quick checks before a commit: format and lint, types, and the tidy tests. Each runs whatever the others say.
 * usage: npm run check
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const CHECKS = [
  ["lint", "biome", "check"],
  ["types", "tsc", "--noEmit", "-p", "tsconfig.json"],
  ["tidy", "vitest", "run", "test/tidy"],
] as const;

const failed = CHECKS.filter(([name, program, ...args]) => {
  console.log(`== ${name}`);
  const path = join(root, "node_modules/.bin", program);
  return spawnSync(path, args, { cwd: root, stdio: "inherit" }).status !== 0;
}).map(([name]) => name);

console.log(failed.length === 0 ? "all checks passed" : `failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
