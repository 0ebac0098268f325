/** What was recorded goes the same way again, is bounded, gives nothing away, and outlives whoever wrote it. */
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Random } from "../clock.ts";
import { replayFile, takeFlight } from "./commands.ts";
import {
  TOY_PLAN,
  TOY_START,
  type ToyEvent,
  type ToyState,
  type ToyWorld,
  toyMachine,
  toyWorld,
} from "./flight.test-world.ts";
import type { Machine, Track } from "./machine.ts";
import { INCIDENTS_MAX } from "./ring.ts";

const NOW = Date.UTC(2026, 10, 20);
const SECRETS = [
  "hft_9f2c1d77aa0e4b5c8d6f",
  "AKIAIOSFODNN7EXAMPLE",
  "correct horse battery staple",
  "-----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VwBCIEIJ1",
  "postgres://app:hunter2@db/hub",
];

const eventArbitrary: fc.Arbitrary<ToyEvent> = fc.oneof(
  fc.record({ type: fc.constant("poke" as const), by: fc.bigInt() }),
  fc.record(
    {
      type: fc.constant("say" as const),
      text: fc.oneof(
        fc.string({ unit: "binary" }),
        fc.constantFrom("louder", "__proto__", ...SECRETS),
      ),
      note: fc.option(fc.string(), { nil: undefined }),
    },
    { requiredKeys: ["type", "text"] },
  ),
  fc.record({ type: fc.constant("roll" as const), times: fc.nat(3) }),
  fc.constantFrom<ToyEvent>({ type: "nothing" }, { type: "break" }),
);

function chance(): Random {
  let at = 1;
  return () => {
    at = (at * 16_807) % 2_147_483_647;
    return at / 2_147_483_647;
  };
}

/** As a program runs it: state after state, whatever is thrown. */
function fly(
  tracks: readonly Track<ToyState, ToyEvent, unknown>[],
  events: readonly ToyEvent[],
  random: Random = chance(),
): void {
  const states = tracks.map(() => TOY_START);
  events.forEach((event, i) => {
    const at = i % tracks.length;
    try {
      const [state] = tracks[at]?.step(states[at] ?? TOY_START, event, NOW + i, random) ?? [];
      if (state !== undefined) states[at] = state;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  });
}

describe("a flight", () => {
  let world: ToyWorld;
  beforeEach(() => {
    world = toyWorld();
  });
  afterEach(() => world.dispose());

  const taken = () => {
    const out = join(world.directory, "taken.jsonl");
    fs.rmSync(out, { force: true });
    takeFlight(fs, TOY_PLAN, world.directory, out);
    return out;
  };
  const replayed = (file: string, machine: Machine<ToyState, ToyEvent, unknown> = toyMachine) => {
    const lines: string[] = [];
    const print = (line: string) => void lines.push(line);
    const code = replayFile(fs, { ...TOY_PLAN, machines: [machine] }, { file, print });
    return { code, lines };
  };
  const written = (...lines: readonly string[]) => {
    const file = join(world.directory, "written.jsonl");
    fs.writeFileSync(file, lines.join("\n"));
    return file;
  };

  it("goes the same way again, whatever happened, also where the ring has forgotten its beginning", () => {
    const bounds = { segmentBytesMax: 40_000, segmentStepsMax: 7 };
    fc.assert(
      fc.property(fc.array(eventArbitrary, { maxLength: 40 }), fc.boolean(), (events, isSmall) => {
        const recorder = world.recorder(isSmall ? bounds : TOY_PLAN.bounds);
        fly([recorder.track(toyMachine, "first"), recorder.track(toyMachine, "second")], events);
        recorder.end("stopped");
        expect(replayed(taken()).lines.at(-1)).toMatch(/^\d+ steps, bit for bit the same$/);
      }),
      { numRuns: 60 },
    );
  });

  it("leaves out what changes nothing, and counts it", () => {
    const recorder = world.recorder();
    const events: ToyEvent[] = Array.from({ length: 500 }, () => ({ type: "nothing" }));
    fly([recorder.track(toyMachine, "first")], [...events, { type: "poke", by: 2n ** 70n }]);
    recorder.end("stopped");
    const { code, lines } = replayed(taken());
    expect(code).toBe(0);
    expect(lines.join("\n")).toContain("499 more like the one before");
    expect(lines.join("\n")).toContain(`poke by=${2n ** 70n}  calm -> excited`);
  });

  it("takes no more room than its two segments", () => {
    const bounds = { segmentBytesMax: 64 * 1024, segmentStepsMax: 1_000_000 };
    const recorder = world.recorder(bounds);
    const events: ToyEvent[] = Array.from({ length: 5_000 }, (_, i) => ({
      type: "say",
      text: `${i}`,
    }));
    fly([recorder.track(toyMachine, "first")], events);
    recorder.end("stopped");
    const sizes = fs.readdirSync(world.folder).map((name) => fs.statSync(join(world.folder, name)));
    expect(sizes).toHaveLength(2);
    for (const { size, mode } of sizes) {
      expect(size).toBeLessThanOrEqual(bounds.segmentBytesMax);
      expect(mode & 0o777).toBe(0o600);
    }
    expect(replayed(taken()).code).toBe(0);
  });

  it("holds no text that is not the machine's own", () => {
    const recorder = world.recorder();
    const events = SECRETS.flatMap((text): ToyEvent[] => [
      { type: "say", text, note: text },
      { type: "say", text: `the hub said ${text}` },
    ]);
    fly([recorder.track(toyMachine, "first")], events);
    recorder.end("crashed", new Error(SECRETS[0]));
    const { code, lines } = replayed(taken());
    expect(code).toBe(0);
    const files = fs
      .readdirSync(world.folder)
      .map((name) => fs.readFileSync(join(world.folder, name), "utf8"));
    for (const secret of SECRETS) {
      for (const text of [...files, lines.join("\n")]) {
        expect(text).not.toContain(secret);
        expect(text).not.toContain(JSON.stringify(secret).slice(1, -1));
      }
    }
    expect(lines.join("\n")).toMatch(/say text=text\(24, [0-9a-f]{12}\)/);
  });

  it("notices a machine that decides otherwise, and says at which step", () => {
    const recorder = world.recorder();
    fly(
      [recorder.track(toyMachine, "first")],
      [
        { type: "say", text: "louder" },
        { type: "poke", by: 1n },
        { type: "poke", by: 2n },
      ],
    );
    recorder.end("stopped");
    const changed: typeof toyMachine = {
      ...toyMachine,
      step: (state, event, now, random) =>
        event.type === "poke" && event.by === 2n
          ? [{ ...state, total: 4n }, []]
          : toyMachine.step(state, event, now, random),
    };
    const { code, lines } = replayed(taken(), changed);
    expect(code).toBe(10);
    expect(lines.join("\n")).toMatch(
      /jsonl:5: step 3 goes another way\n {2}then: checks .*\n {2}now: .*"total":\{"\$int":"4"\}.*$/,
    );
    const hungry: typeof toyMachine = {
      ...toyMachine,
      step(state, event, now, random) {
        random();
        return toyMachine.step(state, event, now, random);
      },
    };
    expect(replayed(taken(), hungry).lines.at(-1)).toContain("it draws more numbers");
  });

  it.each<[string, readonly string[], string, RegExp]>([
    ["is damaged", ["H", "S", "{oops}", ""], "FLIGHT_DAMAGED", /:3: got \{oops\}/],
    ["is cut off", ["H", "S", '{"t":1,"at":1,"ev'], "FLIGHT_CUT", /:3: the line is cut off/],
    ["is newer", ['{"flight":2,"version":"9.0.0","at":1}', ""], "FLIGHT_NEWER", /:1: flight 2;/],
    ["has no header", ["S", ""], "FLIGHT_DAMAGED", /:1: no header/],
    ["is empty", [""], "FLIGHT_DAMAGED", /:1: the file is empty/],
    ["has lost a state", ["H", '{"t":1,"at":1,"event":{}}', ""], "FLIGHT_DAMAGED", /:2: its track/],
    [
      "is of a foreign machine",
      ["H", '{"t":1,"machine":"x","of":"y","state":{}}', ""],
      "FLIGHT_FOREIGN",
      /:2: machine/,
    ],
    [
      "has a number that is none",
      ["H", "S", '{"t":1,"at":1,"event":{"by":{"$int":"x"}}}', ""],
      "FLIGHT_DAMAGED",
      /:3: event: /,
    ],
    [
      "is too deep",
      ["H", "S", `{"t":1,"at":1,"event":${"[".repeat(8_000)}${"]".repeat(8_000)}}`, ""],
      "FLIGHT_DAMAGED",
      /:3: event: /,
    ],
    ["has no time", ["H", "S", '{"t":1,"event":{}}', ""], "FLIGHT_DAMAGED", /:3: at: /],
  ])("that %s is refused with the line", (_, lines, reason, says) => {
    const whole: Record<string, string> = {
      H: '{"flight":1,"program":"toy","version":"1","life":"a","segment":1,"at":1}',
      S: '{"t":1,"machine":"toy","of":"first","state":{"phase":"calm"}}',
    };
    const file = written(...lines.map((line) => whole[line] ?? line));
    expect(() => replayed(file)).toThrow(
      expect.objectContaining({ reason, message: expect.stringMatching(says) }),
    );
  });

  it("from elsewhere moves nobody's cursor, and says where it ends without an end", () => {
    const header = {
      flight: 1,
      program: "toy",
      version: "\u001b[2J",
      life: "a",
      segment: 1,
      at: 1,
    };
    const state = { t: 1, machine: "toy", of: "\u001b]0;x\u0007", state: TOY_START };
    const { total: _, ...plain } = state.state;
    const step = { t: 1, at: 1, event: { type: "break", note: "\u009b" } };
    const all = [header, { ...state, state: plain }, step].map((line) => JSON.stringify(line));
    const { code, lines } = replayed(written(...all, ""));
    expect(code).toBe(0);
    expect(lines.at(-2)).toBe("no end: the program was killed after this, or ran on");
    expect(lines.join()).toContain("calm threw");
    for (const line of lines) expect(line).toMatch(/^[\x20-\x7e…]*$/);
  });

  it("of a life that did not end is put aside at the next start, without the line that was cut off", () => {
    for (let life = 0; life < INCIDENTS_MAX + 2; life++) {
      const recorder = world.recorder();
      fly([recorder.track(toyMachine, "first")], [{ type: "poke", by: BigInt(life) }]);
      recorder.end("crashed", new TypeError("secret"));
      fs.appendFileSync(join(world.folder, "current.jsonl"), '{"t":1,"at');
    }
    world.recorder().end("stopped");
    const incidents = fs.readdirSync(world.folder).filter((name) => name.startsWith("incident-"));
    expect(incidents.length).toBeGreaterThan(0);
    expect(incidents.length).toBeLessThanOrEqual(INCIDENTS_MAX);
    for (const name of incidents) {
      const { code, lines } = replayed(join(world.folder, name));
      expect(code).toBe(0);
      expect(lines.join("\n")).toContain("the program crashed: TypeError");
    }
    expect(world.logged).toHaveLength(INCIDENTS_MAX + 2);
  });

  it("ends where the disk is full, and never in the way of the machine", () => {
    let isFull = false;
    const full: typeof fs = {
      ...fs,
      appendFileSync: ((...args: Parameters<typeof fs.appendFileSync>) => {
        if (isFull) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
        fs.appendFileSync(...args);
      }) as typeof fs.appendFileSync,
    };
    const bounds = { segmentBytesMax: 40_000, segmentStepsMax: 3 };
    const recorder = world.recorder(bounds, full);
    const track = recorder.track(toyMachine, "first");
    isFull = true;
    let state = TOY_START;
    for (let i = 0; i < 100; i++)
      [state] = track.step(state, { type: "poke", by: 1n }, NOW, () => 0);
    expect(state.total).toBe(100n);
    expect(world.logged).toEqual(["the flight recorder cannot write"]);
  });

  it("is not taken over a file that is there, and not from nothing", () => {
    expect(() => taken()).toThrow(expect.objectContaining({ reason: "FLIGHT_MISSING" }));
    world.recorder().end("stopped");
    const out = taken();
    const again = () => takeFlight(fs, TOY_PLAN, world.directory, out);
    expect(again).toThrow(expect.objectContaining({ reason: "FILE_EXISTS" }));
    expect(() => replayed("/nowhere")).toThrow(
      expect.objectContaining({ reason: "FILE_UNREADABLE" }),
    );
  });
});
