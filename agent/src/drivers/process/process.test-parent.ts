/**
 * A stand-in for an agent that is about to be killed: starts the program in the state directory of its argument,
 * with the mode of the second, says the name of the copy, and waits for its end. In mode race it also says when it begins. Holds a file open that no workload may get.
 */
import { openSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { createWorld } from "./process.test-world.ts";

const [, , stateDir = "", mode = ""] = process.argv;
openSync(join(stateDir, "agent.db"), "w");
const world = createWorld(systemClock, stateDir);
if (mode === "race") console.log("begin");
const live = await world.running(world.wanted({ with: { env: { MODE: mode } } }));
console.log(JSON.stringify({ handle: live.handle }));
setInterval(() => undefined, 60_000);
