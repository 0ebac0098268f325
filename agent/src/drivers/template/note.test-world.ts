/** A state directory for notes: what a driver's tests are handed. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { DriverContext } from "../driver.ts";

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export function noteWorld() {
  const stateDir = mkdtempSync(join(tmpdir(), "holdfast-note-"));
  const context: DriverContext = {
    ...{ log: quiet, clock: systemClock, random: Math.random, stateDir },
    signal: new AbortController().signal,
    directories: (instanceId) => {
      const root = join(stateDir, "instances", instanceId.slice("ins_".length));
      const [run, data, logs] = ["run", "data", "logs"].map((name) => join(root, name));
      for (const path of [run, data, logs]) mkdirSync(path ?? "", { recursive: true });
      return {
        run: run ?? "",
        data: data ?? "",
        logs: logs ?? "",
        seatsFile: join(root, "seats.json"),
      };
    },
  };
  return { context, end: async () => rmSync(stateDir, { recursive: true, force: true }) };
}
