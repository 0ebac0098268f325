/**
 * Command that compares a source and a destination row by row, also while workers run:
 * node examples/etl/src/check.ts --source source.db --destination warehouse.db --seats seats.json
 * Prints the result as JSON. Exit code 0: exact, rows may be pending; 10: differences; 2: wrong arguments.
 */
import { parseArgs } from "node:util";
import { compare } from "./compare.ts";
import { readSeats } from "./seats.ts";

const EXIT_USAGE = 2;
const EXIT_DIFFERENCES = 10;

const { source, destination, seats } = options();
if (source === undefined || destination === undefined || seats === undefined) {
  refuse("expected --source, --destination (files or DSNs) and --seats FILE");
}
const comparison = await compare({ source, destination, seats: readSeats(seats) });
console.log(JSON.stringify(comparison, undefined, 2));
process.exitCode = comparison.isExact ? 0 : EXIT_DIFFERENCES;

function options() {
  try {
    const text = { type: "string" } as const;
    return parseArgs({ options: { source: text, destination: text, seats: text } }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_USAGE);
}
