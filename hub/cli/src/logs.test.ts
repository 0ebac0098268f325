/** `holdfast logs`: order, forms, what is missing, and that nothing printed can drive a terminal. */
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestHub, TOKEN } from "./hub.fixture.ts";
import { TestTerminal } from "./terminal.fixture.ts";

const T0 = Date.parse("2026-11-20T08:00:00.123Z");
let hub: TestHub;
let user: TestTerminal;

beforeEach(async () => {
  hub = await TestHub.start();
  user = new TestTerminal();
  user.useHub(hub.api, TOKEN);
  hub.lines = ["first", "second", "third"].map((text, n) => ({
    ...{ time: timestampFromMs(T0 + n), instance: "etl", resource: "worker", text },
  }));
  hub.missing = [
    {
      ...{ class: 3, resource: "worker", reason: "BUFFER_FULL", count: 1_204n },
      startTime: timestampFromMs(T0),
      endTime: timestampFromMs(T0 + 4_000),
    },
  ];
});

afterEach(() => hub.stop());

describe("logs", () => {
  it("print the latest lines, oldest first, and on the side what is missing", async () => {
    const { code, out, err } = await user.run("logs", "etl", "--limit", "2");
    expect(code).toBe(0);
    expect(out).toBe(
      "2026-11-20 08:00:00.124  worker  second\n2026-11-20 08:00:00.125  worker  third\n",
    );
    expect(err).toBe(
      "-- 1,204 lines of worker are missing between 2026-11-20 08:00:00.123 and 2026-11-20 08:00:04.123 (BUFFER_FULL)\n",
    );
  });

  it("ask for what was asked for", async () => {
    const before = Date.now();
    await user.run("logs", "etl", "--since", "10m", "--grep", "a.b", "--resource", "web");
    const [asked] = hub.asked;
    expect(asked).toMatchObject({ instance: "etl", contains: "a.b", resource: "web" });
    const startMs = asked?.startTime === undefined ? 0 : timestampMs(asked.startTime);
    expect(Math.abs(before - 600_000 - startMs)).toBeLessThan(10_000);
  });

  it("in JSON are one object with what is missing in it", async () => {
    const { out } = await user.run("logs", "etl", "-o", "json");
    const { lines, missing } = JSON.parse(out);
    expect(lines.map(({ text }: { text: string }) => text)).toEqual(["first", "second", "third"]);
    expect(missing[0]).toMatchObject({ count: "1204", reason: "BUFFER_FULL" });
  });

  it("never drive a terminal, whatever a hub sends", async () => {
    hub.lines = [
      { resource: "w\u001b[2J", text: "\u001b]52;c;aGk=\u0007\ttab", cutBytes: 10_477_568n },
    ];
    hub.missing = [];
    const { out } = await user.run("logs", "etl");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
    expect(out.trimEnd()).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    expect(out).toContain("\\u001b]52;c;aGk=\\u0007\ttab … [10,477,568 bytes cut]");
  });

  it("are followed over a broken connection, each line once", async () => {
    const ended = user.run("logs", "etl", "-f", "-o", "json");
    const until = Date.now() + 10_000;
    while (!user.out.includes("third") && Date.now() < until) await new Promise(setImmediate);
    user.interrupt.abort();
    const { code } = await ended;
    const views = user.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(views.flatMap(({ text }) => text ?? [])).toEqual(["first", "second", "third"]);
    expect(views.some(({ missing }) => missing?.reason === "BUFFER_FULL")).toBe(true);
    expect(user.err).toContain("trying again");
    expect(code).not.toBe(0);
    expect(hub.asked.map(({ pageToken }) => pageToken)).toEqual(["", "1"]);
  });

  it.each([
    { it: "a form that has no meaning here", args: ["-o", "name"] },
    { it: "an end of what has none", args: ["-f", "--until", "1m"] },
    { it: "a time that is none", args: ["--since", "yesterday"] },
  ])("refuse $it", async ({ args }) => {
    expect(await user.run("logs", "etl", ...args)).toMatchObject({ code: 2, out: "" });
  });
});
