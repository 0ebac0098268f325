/** The README's transcript, command by command, and in the same fleet that of the mixed example. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Checkout, ROOT } from "./checkout.ts";
import { commandsOf, masked } from "./transcript.ts";

const checkout = new Checkout();
const commands = commandsOf(readFileSync(join(ROOT, "README.md"), "utf8"));
const mixed = commandsOf(readFileSync(join(ROOT, "examples/mixed/README.md"), "utf8"));

afterAll(() => checkout.remove());

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
  });

  it.each(mixed)("mixed: $command", async ({ command, output }) => {
    expect(masked(await checkout.run(command))).toBe(masked(output));
  });

  it("ends in order at Ctrl-C", async () => {
    expect(await checkout.endFleet()).toMatch(/s {2}ended; npm start goes on from here/);
    expect(checkout.left()).toEqual([]);
  });
});
