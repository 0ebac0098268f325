/** A fleet of its own for one bench, in a temporary directory, with logs that tell every leg. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { bringUp, takeDown } from "../../scripts/fleet/setup.ts";

export const ROOT = join(import.meta.dirname, "../..");
/** Each run in a range of its own, below the ports that the kernel gives to clients. */
const PORTS_FROM = 10_000;
const PORT_RANGES = 5_000;

/** Runs `work` on a running fleet and leaves no process and no file behind, also when it throws. */
export async function withFleet<Result>(
  settings: Readonly<{ logLevel: "debug" | "info"; sampleWindowMs: number }>,
  work: (fleet: Fleet, home: string) => Promise<Result>,
): Promise<Result> {
  const built = join(ROOT, "examples/etl/dist/1.0.0/worker.mjs");
  if (!existsSync(built)) execFileSync(process.execPath, [join(ROOT, "examples/etl/build.ts")]);
  const home = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const fleet = new Fleet(layoutOf(ROOT, join(home, ".holdfast")), {
    ...process.env,
    NO_COLOR: "1",
    HOLDFAST_HUB_LOG_LEVEL: settings.logLevel,
    HOLDFAST_AGENT_LOG_LEVEL: settings.logLevel,
  });
  try {
    await bringUp(fleet, {
      portsFrom: PORTS_FROM + (process.pid % PORT_RANGES) * 3,
      sampleWindowMs: settings.sampleWindowMs,
      say: (line) => process.stderr.write(`${line}\n`),
    });
    return await work(fleet, home);
  } finally {
    await takeDown(fleet);
    rmSync(home, { recursive: true, force: true });
  }
}
