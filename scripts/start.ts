/**
 * `npm start`: a hub, two agents and the example product on this machine, until Ctrl-C. A second start goes on
 * with what is there.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Fleet } from "./fleet/fleet.ts";
import { containerSocketOf, homeOf, layoutOf, portsFromOf } from "./fleet/layout.ts";
import { finalScreen } from "./fleet/screen.ts";
import { bringUp, takeDown } from "./fleet/setup.ts";

const root = join(import.meta.dirname, "..");
const fleet = new Fleet(layoutOf(root, homeOf(root, process.env)), process.env);
const begun = performance.now();
const say = (line: string) => {
  const seconds = ((performance.now() - begun) / 1_000).toFixed(1).padStart(5);
  process.stderr.write(`${seconds}s  ${line}\n`);
};

/** Waiting for a signal does not keep Node running; a timer does. */
const alive = setInterval(() => undefined, 60_000);

/** Resolves at the first signal to end; a second one changes nothing, since ending has a deadline of its own. */
const ended = new Promise<"ended">((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => resolve("ended"));
  }
});

async function main(): Promise<number> {
  const built = spawnSync(process.execPath, [join(root, "examples/etl/build.ts")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (built.status !== 0) throw new Error("the example could not be built");
  const options = {
    portsFrom: portsFromOf(process.env),
    sampleWindowMs: 2_000,
    containerSocket: containerSocketOf(process.env),
    say,
  };
  const first = await Promise.race([bringUp(fleet, options).then(() => "up" as const), ended]);
  if (first === "up") {
    process.stdout.write(await finalScreen(fleet, process.cwd()));
    await ended;
  }
  say("ending: workloads and agents, sources, hub");
  await takeDown(fleet);
  clearInterval(alive);
  say("ended; npm start goes on from here, npm run reset forgets it all");
  return first === "up" ? 0 : 130;
}

main().then(
  (code) => process.exit(code),
  async (error: unknown) => {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    await takeDown(fleet).catch(() => undefined);
    process.stderr.write("next: npm start\n");
    process.exit(1);
  },
);
