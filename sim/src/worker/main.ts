/** The process of a worker: takes its orders from the process of the fleet, and ends when that one is gone. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { performance } from "node:perf_hooks";
import { simTerminal } from "../terminal.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { Worker } from "./worker.ts";

const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
const interrupt = new AbortController();

const worker = new Worker({
  version: String((JSON.parse(manifest) as { version: string }).version),
  terminal: simTerminal({
    env: process.env,
    workingDirectory: process.cwd(),
    homeDirectory: homedir(),
    out: () => undefined,
    err: (text) => void process.stderr.write(text),
    signal: interrupt.signal,
    random: Math.random,
  }),
  wall: () => performance.timeOrigin + performance.now(),
  say: (message: FromWorker) => void process.send?.(message, () => undefined),
});

// Ctrl-C reaches the whole group; the process of the fleet ends its workers in order.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("message", (message) => void worker.take(message as ToWorker));
process.on("disconnect", () => {
  interrupt.abort();
  void worker.stop().finally(() => process.exit(0));
});
