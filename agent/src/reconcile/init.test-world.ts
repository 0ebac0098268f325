/**
 * An agent as an init starts it: real engine, store and process driver, in the state directory of its argument. Says a
 * line of JSON whenever what people are told has changed; SIGTERM ends it as it ends the program, SIGKILL at once.
 */
import { agentWorld, instanceId } from "./engine.test-world.ts";

const [stateDir = ""] = process.argv.slice(2);
const world = await agentWorld(stateDir);
const agent = world.begin({ isReal: true });
await agent.intake.offered(world.offerOf({ number: 1n, resources: [{ readyMsMax: 60_000 }] }));
let said = "";
const timer = setInterval(() => {
  const status = agent.statusOf(instanceId());
  const conditions = status?.conditions ?? [];
  const line = JSON.stringify({
    pid: process.pid,
    port: Number(
      String(status?.outputs?.["worker"] ?? "")
        .split(":")
        .at(-1),
    ),
    restarts: Number(status?.resources[0]?.restarts ?? 0),
    ready: conditions.find(({ type }) => type === "Ready")?.reason,
    drifted: conditions.find(({ type }) => type === "Drifted")?.message,
  });
  if (line !== said) console.log(line);
  said = line;
}, 10);
process.once("SIGTERM", async () => {
  clearInterval(timer);
  await agent.end();
  process.exit(0);
});
