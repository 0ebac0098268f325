/**
 * The README's transcript, command by command, and in the same fleet that of the mixed example. Its containers run in an
 * engine of the test's own, in whose network the whole fleet is; where there can be none, the example is left out.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { startDocker, whyNoDocker } from "../../agent/src/drivers/container/docker.test-world.ts";
import { Checkout, ROOT } from "./checkout.ts";
import { commandsOf, masked } from "./transcript.ts";

const whyNot = whyNoDocker();
const engine = whyNot === undefined ? await startDocker() : undefined;
const checkout =
  engine === undefined
    ? new Checkout()
    : new Checkout({ HOLDFAST_CONTAINER_SOCKET: engine.socket }, ["nsenter", engine.netns, "--"]);
const commands = commandsOf(readFileSync(join(ROOT, "README.md"), "utf8"));
const mixed = commandsOf(readFileSync(join(ROOT, "examples/mixed/README.md"), "utf8"));

afterAll(async () => {
  await checkout.remove();
  await engine?.end();
});

describe("the README's transcript", () => {
  it("begins with the one command that sets everything up", () => {
    expect(commands[0]?.command).toBe("npm start");
    expect(commands.length).toBeGreaterThan(5);
  });

  it.each(commands)("$command", async ({ command, output }) => {
    expect(masked(await checkout.run(command))).toBe(masked(output));
  });

  it("leaves a fleet that the mixed example can be tried in", () => {
    expect(mixed.length).toBeGreaterThan(10);
    if (whyNot !== undefined) console.log(whyNot);
  });

  it.each(engine === undefined ? [] : mixed)("mixed: $command", async ({ command, output }) => {
    expect(masked(await checkout.run(command))).toBe(masked(output));
  });

  it("ends in order at Ctrl-C, and leaves no container", async () => {
    expect(await checkout.endFleet()).toMatch(/s {2}ended; npm start goes on from here/);
    expect(checkout.left()).toEqual([]);
    const { signal } = new AbortController();
    const left = await engine?.dock.ask("containers", signal, (docker) =>
      docker.listContainers({ all: true, filters: { status: ["running"] } }),
    );
    expect(left ?? []).toEqual([]);
  });
});
