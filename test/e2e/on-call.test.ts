/** The walk-through of docs/on-call.md, command by command, on a fleet as `npm start` brings it up. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { Checkout, ROOT } from "./checkout.ts";
import { prepareHub } from "./prepared-hub.ts";
import { commandsOf, masked } from "./transcript.ts";

const checkout = new Checkout();
const commands = commandsOf(readFileSync(join(ROOT, "docs/on-call.md"), "utf8"));

beforeAll(async () => {
  await prepareHub(layoutOf(ROOT, join(checkout.folder, ".holdfast")));
  expect(await checkout.run("npm start")).toContain("Holdfast is running.");
});
afterAll(() => checkout.remove());

describe("the walk-through", () => {
  it("answers each of the three questions by one command", () => {
    const typed = commands.map(({ command }) => command);
    expect(typed).toEqual(
      expect.arrayContaining([
        "./holdfast instance why etl-free",
        "./holdfast events --changes --limit 4",
        "./holdfast get seats --release 1.1.0",
      ]),
    );
  });

  it.each(commands)("$command", async ({ command, output }) => {
    expect(masked(await checkout.run(command))).toBe(masked(output));
  });
});
