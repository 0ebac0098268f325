/**
 * Command that makes a source database and, if asked, keeps adding rows until SIGTERM or SIGINT:
 * node examples/etl/src/seed.ts --file source.db --accounts acme,globex --rows 1000 [--every-ms 500 --batch 5]
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { SourceFile } from "./source.ts";

const EXIT_USAGE = 2;
const ROWS_MAX = 10_000_000;

const values = options();

const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop.abort());

const { file } = values;
const accounts = (values.accounts ?? "").split(",").filter((account) => account !== "");
if (file === undefined || accounts.length === 0) {
  refuse("expected --file PATH and --accounts NAME[,NAME…]");
}
const rows = integer("rows", values.rows, 0);
const everyMs = values["every-ms"] && integer("every-ms", values["every-ms"], 1);
const batch = integer("batch", values.batch, 1);
const source = new SourceFile(file, { accounts, seed: integer("seed", values.seed, 0) });
source.fillTo(rows);
console.log(`${file}: ${source.rowCount} rows`);
while (everyMs && !stop.signal.aborted && source.rowCount < ROWS_MAX) {
  // Rejects when it is told to stop, which is what ends the loop.
  await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
  if (!stop.signal.aborted) source.fillTo(source.rowCount + batch);
}
source.close();

function options() {
  try {
    const text = { type: "string" } as const;
    return parseArgs({
      options: {
        file: text,
        accounts: text,
        rows: { ...text, default: "1000" },
        seed: { ...text, default: "1" },
        "every-ms": text,
        batch: { ...text, default: "5" },
      },
    }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function integer(name: string, given: string, min: number): number {
  const value = /^\d{1,8}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= min && value <= ROWS_MAX) return value;
  return refuse(`--${name}: got ${JSON.stringify(given)}; expected ${min} to ${ROWS_MAX}`);
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_USAGE);
}
