/**
 * Runs one bench of test/bench by its name, with the arguments that follow; without a name it lists them.
 * usage: npm run bench -- [NAME [ARGUMENT...]]
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "../test/bench");
const names = (existsSync(folder) ? readdirSync(folder) : [])
  .filter((file) => file.endsWith(".bench.ts"))
  .map((file) => file.slice(0, -".bench.ts".length));
const [name, ...args] = process.argv.slice(2);

if (name !== undefined && names.includes(name)) {
  const bench = spawnSync(process.execPath, [join(folder, `${name}.bench.ts`), ...args], {
    stdio: "inherit",
  });
  process.exitCode = bench.status ?? 1;
} else {
  if (name !== undefined) console.error(`error: there is no bench named ${name}`);
  console.error(`usage: npm run bench -- NAME; one of: ${names.join(", ")}`);
  process.exitCode = 2;
}
