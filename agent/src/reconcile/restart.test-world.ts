/**
 * An agent that kills itself in the middle of a restart, for a test that starts it as a process: arguments are the
 * state directory, the number of the journal write, and whether it dies before or after it.
 */
import { agentWorld } from "./engine.test-world.ts";
import { killing } from "./killing.test-world.ts";

const [stateDir = "", at = "0", when = "before"] = process.argv.slice(2);
const world = await agentWorld(stateDir);
const agent = world.begin({ isReal: true, journal: killing(Number(at), when) });
await agent.order({ id: "r1" }).ended;
await agent.end();
