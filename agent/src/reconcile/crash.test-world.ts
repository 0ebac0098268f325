/**
 * An agent that kills itself, for a test that starts it as a process: arguments are the state directory, what the
 * new copy does, the number of the journal write, and whether it dies before or after it.
 */
import { agentWorld } from "./engine.test-world.ts";
import type { Journal } from "./journal.ts";

const [stateDir = "", mode = "", at = "0", when = "before"] = process.argv.slice(2);
let writes = 0;

const killing = (inner: Journal): Journal => {
  const guarded =
    <Args extends unknown[]>(write: (...args: Args) => void) =>
    (...args: Args): void => {
      const isHere = writes === Number(at);
      writes += 1;
      if (isHere && when === "before") process.kill(process.pid, "SIGKILL");
      write(...args);
      if (isHere) process.kill(process.pid, "SIGKILL");
    };
  return {
    note: guarded(inner.note),
    rendered: guarded(inner.rendered),
    append: guarded(inner.append),
    commit: guarded(inner.commit),
    end: guarded(inner.end),
    removed: guarded(inner.removed),
  };
};

const world = await agentWorld(stateDir);
const agent = world.begin({ journal: killing });
await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode }] }));
await agent.until(
  ({ attempt }) => attempt?.generation?.number === 2n && attempt.endTime !== undefined,
);
await agent.end();
