/**
 * A stand-in for an agent that is about to be killed: starts the program in the state directory of its argument,
 * with the mode of the second, says the pid, and waits for its end. Holds a file open that no workload may get.
 */
import { openSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { createWorld } from "./process.test-world.ts";

const [, , stateDir = "", mode = ""] = process.argv;
openSync(join(stateDir, "agent.db"), "w");
const world = createWorld(systemClock, stateDir);
const live = await world.running(world.wanted({ with: { env: { MODE: mode } } }));
console.log(JSON.stringify({ handle: live.handle }));
setInterval(() => undefined, 60_000);
