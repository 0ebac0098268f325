/**
 * The telemetry thread: runs the engine, one call after the other, so that neither a long search nor a slow disk
 * holds up the hub. Its own work, bringing things to the disk and removing what is old, goes between calls.
 */
import { parentPort, workerData } from "node:worker_threads";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { TelemetryEngine } from "./engine.ts";
import type { FromThread, Method, ThreadFailure, ThreadStart, ToThread } from "./protocol.ts";

/** What an abrupt end of the machine can take at most. */
const SYNC_MS = 5_000;
const SWEEP_MS = 60_000;

function main({ folder, bounds }: ThreadStart): void {
  const say = (message: FromThread) => parentPort?.postMessage(message);
  const engine = new TelemetryEngine({
    ...{ folder, bounds },
    now: () => Date.now(),
    note: (what, vendor, file) =>
      say({
        type: "note",
        level: what === "damaged" ? "error" : "info",
        text: `a telemetry partition was ${what === "damaged" ? "damaged and set aside" : what}`,
        fields: { vendor, file },
      }),
  });
  const regularly = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      const fields = { error: causeChain(error) };
      say({ type: "note", level: "error", text: "the telemetry store failed", fields });
    }
  };
  const timers = [
    setInterval(
      regularly(() => engine.sync()),
      SYNC_MS,
    ),
    setInterval(
      regularly(() => engine.sweep()),
      SWEEP_MS,
    ),
  ];
  regularly(() => engine.sweep())();
  parentPort?.on("message", (message: ToThread) => {
    if (message.type === "call") say(answerOf(engine, message));
    else {
      for (const timer of timers) clearInterval(timer);
      regularly(() => engine.close())();
      parentPort?.close();
    }
  });
}

function answerOf(
  engine: TelemetryEngine,
  { id, method, argument }: Readonly<{ id: number; method: Method; argument: unknown }>,
): FromThread {
  try {
    return { type: "answer", id, answer: engine[method](argument as never) };
  } catch (error) {
    return { type: "failure", id, failure: failureOf(error) };
  }
}

function failureOf(error: unknown): ThreadFailure {
  const message = causeChain(error);
  if (error instanceof Fault) return { code: error.code, reason: error.reason, message };
  return { code: "INTERNAL", reason: "TELEMETRY_STORE", message };
}

main(workerData as ThreadStart);
