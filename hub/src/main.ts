/** Entry of holdfast-hub: the only file that touches the process. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { systemClock } from "@holdfast/shared/clock.ts";
import { run } from "./program.ts";

const INTERRUPTED = 130;

const stop = new AbortController();
let interrupts = 0;
for (const name of ["SIGTERM", "SIGINT"] as const) {
  process.on(name, () => {
    interrupts += 1;
    stop.abort();
    // Whoever asks three times does not want to wait for the end of the order.
    if (interrupts >= 3) process.exit(INTERRUPTED);
  });
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
  stop: stop.signal,
  print: (line) => void process.stdout.write(`${line}\n`),
  printError: (line) => void process.stderr.write(`${line}\n`),
});
