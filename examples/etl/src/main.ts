/** Composition root of the worker: arguments, environment, signals and exit code. Only here is `process` touched. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Bell } from "./bell.ts";
import { Health } from "./health.ts";
import { portOf, servePages } from "./http.ts";
import { jsonLog } from "./log.ts";
import { isPostgres } from "./model.ts";
import { workerPages } from "./pages.ts";
import { openPostgresDestination } from "./postgres-destination.ts";
import { postgresSource } from "./postgres-source.ts";
import { parseRates, type Rates } from "./rates.ts";
import { builtInRates, type Release } from "./release.ts";
import { readSeats } from "./seats.ts";
import { loadSettings, type Settings, SettingsError } from "./settings.ts";
import { openSqliteDestination } from "./sqlite-destination.ts";
import { sqliteSource } from "./sqlite-source.ts";
import { Worker } from "./worker.ts";

const EXIT_USAGE = 2;

/** Runs a release until SIGTERM or SIGINT, then ends the process: 0 after a clean stop, 2 for wrong settings. */
export async function main(release: Release): Promise<void> {
  const stop = new AbortController();
  const bell = new Bell();
  let reread = () => bell.ring();
  // First of all: until there is a handler, a SIGHUP would end the process.
  process.on("SIGHUP", () => reread());
  process.once("SIGTERM", () => stop.abort());
  process.once("SIGINT", () => stop.abort());

  const writeLog = jsonLog(Date.now, (line) => process.stdout.write(`${line}\n`));
  const settings = settingsOrExit();
  const health = new Health(writeLog);
  const worker = new Worker({
    release,
    ...settings,
    holder: `${settings.copy}/${randomUUID()}`,
    source: isPostgres(settings.source)
      ? postgresSource(settings.source)
      : sqliteSource(settings.source),
    openDestination: () => openDestination(settings),
    readSeats: () => readSeats(settings.seatsFile),
    readRates: () => ratesFor(release, settings),
    health,
    bell,
    monotonic: () => performance.now(),
  });
  reread = () => worker.rereadSeats();

  const server = await servePages(workerPages({ release, health, worker }), settings.httpPort);
  const start = { release: release.version, pid: process.pid, copy: settings.copy };
  writeLog("info", "listening", { port: portOf(server), ...start });
  await worker.run(stop.signal);
  server.close();
  server.closeAllConnections();
  writeLog("info", "stopped", { rows: worker.rowsCopied });
  process.exit(0);
}

function settingsOrExit(): Settings {
  try {
    return loadSettings(process.argv.slice(2), process.env, (path) => readFileSync(path, "utf8"));
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}

function openDestination(settings: Settings) {
  const { destination, leaseMs } = settings;
  const deps = { leaseMs, now: Date.now, newId: () => `etl-${randomUUID()}` };
  return isPostgres(destination)
    ? openPostgresDestination(destination, deps)
    : Promise.resolve().then(() => openSqliteDestination(destination, deps));
}

function ratesFor(release: Release, { ratesFile }: Settings): Rates {
  const rates = builtInRates(release);
  if (rates !== undefined) return rates;
  if (ratesFile !== undefined) return parseRates(readFileSync(ratesFile, "utf8"));
  throw new SettingsError(
    `RATES_FILE is not set; release ${release.version} takes exchange rates from that file`,
  );
}
