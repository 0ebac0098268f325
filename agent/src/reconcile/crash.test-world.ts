/**
 * An agent that kills itself, for a test that starts it as a process: arguments are the state directory, what the
 * new copy does, the number of the journal write, and whether it dies before or after it.
 */
import { agentWorld } from "./engine.test-world.ts";
import { killing } from "./killing.test-world.ts";

const [stateDir = "", mode = "", at = "0", when = "before"] = process.argv.slice(2);
const world = await agentWorld(stateDir);
const agent = world.begin({ journal: killing(Number(at), when) });
await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode }] }));
await agent.until(
  ({ attempt }) => attempt?.generation?.number === 2n && attempt.endTime !== undefined,
);
await agent.end();
