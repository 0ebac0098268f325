/** Entry of holdfast-hub: the only file that touches the process. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { run } from "./program.ts";

const INTERRUPTED = 130;

/** Whoever asks three times does not want to wait for the end of the order. */
const INTERRUPTS_MAX = 3;

/** Aborted by the first signal to end. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  let interrupts = 0;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      interrupts += 1;
      stop.abort();
      if (interrupts >= INTERRUPTS_MAX) process.exit(INTERRUPTED);
    });
  }
  return stop.signal;
}

const { version } = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8"),
) as { version: string };

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  workingDirectory: process.cwd(),
  nodeVersion: process.versions.node,
  uid: process.getuid?.() ?? -1,
  pid: process.pid,
  kill: (pid, signal) => void process.kill(pid, signal),
  tempDir: tmpdir(),
  platform: { os: process.platform, cpu: process.arch },
  version,
  clock: systemClock,
  random: Math.random,
  stop: stopSignal(),
  onCrash: (hear) => void process.on("uncaughtExceptionMonitor", hear),
  print: (line) => void process.stdout.write(`${line}\n`),
  printError: (line) => void process.stderr.write(`${line}\n`),
});
