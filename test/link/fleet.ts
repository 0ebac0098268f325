/** Starts hubs and links for one test and ends them after it. */
import { afterEach } from "vitest";
import { linkOf, type MemoryAgent } from "./memory-agent.ts";
import { createWorld, MemoryHub, startHub } from "./world.ts";

/** What is to be ended after the test, newest first. */
export const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function connect(agent: MemoryAgent, deps: Parameters<typeof linkOf>[1] = {}) {
  const link = linkOf(agent, deps);
  cleanups.push(() => link.stop());
  return link;
}

export async function fleet(hub = new MemoryHub(), timing = {}) {
  const world = await createWorld();
  const running = await startHub(world, hub, timing);
  cleanups.push(() => running.stop());
  return { world, hub, running };
}
