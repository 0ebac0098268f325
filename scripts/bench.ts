/**
 * Runs one bench of test/bench by its name and prints what it measured; without a name it lists them.
 * usage: npm run bench -- [NAME [--json FILE]]
 */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

type Figures = Readonly<Record<string, number>>;

/** What every file of test/bench exports: `bench`, which measures once. */
type Bench = Readonly<{
  bench(): Promise<
    Readonly<{
      name: string;
      machine: Readonly<Record<string, string | number>>;
      figures: Figures;
      yardsticks: Figures;
      ratios: Figures;
    }>
  >;
}>;

const folder = join(import.meta.dirname, "../test/bench");
const names = (existsSync(folder) ? readdirSync(folder) : [])
  .filter((file) => file.endsWith(".bench.ts"))
  .map((file) => file.slice(0, -".bench.ts".length));

async function run(name: string, json: string | undefined): Promise<void> {
  const { bench } = (await import(pathToFileURL(join(folder, `${name}.bench.ts`)).href)) as Bench;
  const result = await bench();
  const { figures, yardsticks, ratios, machine } = result;
  for (const [title, values] of Object.entries({ machine, figures, yardsticks, ratios })) {
    process.stdout.write(`\n${title}\n${tableOf(values)}\n`);
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(result, undefined, 2)}\n`);
}

/** A quantile of the same thing stands beside its median. */
function tableOf(values: Readonly<Record<string, string | number>>): string {
  const rows = Object.entries(values).flatMap(([name, value]): (readonly string[])[] => {
    const p95 = values[name.replace("_median_", "_p95_")];
    if (name.includes("_median_") && p95 !== undefined) {
      return [[name.replace("_median_", " "), `median ${value}`, `p95 ${p95}`]];
    }
    const isBeside = name.includes("_p95_") && name.replace("_p95_", "_median_") in values;
    return isBeside ? [] : [[name, String(value)]];
  });
  const widths = [0, 1].map((at) => Math.max(0, ...rows.map((row) => (row[at] ?? "").length)));
  return rows
    .map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  ")}`.trimEnd())
    .join("\n");
}

function parsedArguments() {
  const options = { json: { type: "string" } } as const;
  try {
    return parseArgs({ args: process.argv.slice(2), options, allowPositionals: true });
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

const given = parsedArguments();
const name = given?.positionals[0];
if (given !== undefined && name !== undefined && names.includes(name)) {
  await run(name, given.values.json);
} else {
  if (name !== undefined) console.error(`error: there is no bench named ${name}`);
  console.error(`usage: npm run bench -- NAME [--json FILE]; one of: ${names.join(", ")}`);
  process.exitCode = 2;
}
