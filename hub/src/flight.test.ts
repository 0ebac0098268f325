/** The hub's flights: its recorded machine goes the same way again, and the commands say so. */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { replayFile, takeFlight } from "@holdfast/shared/flight/commands.ts";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { HUB_FLIGHT, startRecorder } from "./flight.ts";
import { CONTROL_START, type ControlEvent, controlMachine } from "./link/control-machine.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const SECRET = "hft_9f2c1d77aa0e4b5c8d6f";
const AGENT = "agt_00000000000070008000000000000001";

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), "holdfast-hub-flight-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

const look = fc.constantFrom("offers" as const, "orders" as const);
const events: fc.Arbitrary<ControlEvent> = fc.oneof(
  fc.record({ type: fc.constant("welcomed" as const), held: fc.nat(), hasOrders: fc.boolean() }),
  fc.constantFrom<ControlEvent>({ type: "changed" }, { type: "ordered" }),
  fc.record({
    type: fc.constant("offered" as const),
    ...{ written: fc.nat(64), isNews: fc.boolean(), more: fc.boolean() },
  }),
  fc.record({ type: fc.constant("orders-given" as const), written: fc.nat(256) }),
  fc.record({
    type: fc.constant("failed" as const),
    look,
    reason: fc.constantFrom("UNAVAILABLE", SECRET),
  }),
  fc.record({
    type: fc.constant("timer" as const),
    timer: fc.oneof(look, fc.constant("note" as const)),
  }),
  fc.record({ type: fc.constant("ended" as const), reason: fc.constantFrom("LEFT", SECRET) }),
);

it("a control stream goes the same way again, and gives no secret away", () => {
  let crash: (error: unknown) => void = () => undefined;
  const host = {
    ...{ version: "1.0.0", clock: systemClock, log: silent },
    onCrash: (hear: typeof crash) => {
      crash = hear;
    },
  };
  const out = join(directory, "out.jsonl");
  fc.assert(
    fc.property(fc.array(events, { maxLength: 40 }), fc.boolean(), (all, isCrash) => {
      const recorder = startRecorder(directory, host);
      const track = recorder.track(controlMachine, AGENT);
      let state = CONTROL_START;
      all.forEach((event, i) => {
        [state] = track.step(state, event, 1_000 * i, () => (i % 10) / 10);
      });
      if (isCrash) crash(new TypeError(SECRET));
      else recorder.end("stopped");
      fs.rmSync(out, { force: true });
      takeFlight(fs, HUB_FLIGHT, directory, out);
      expect(fs.readFileSync(out, "utf8")).not.toContain(SECRET);
      const lines: string[] = [];
      const print = (line: string) => void lines.push(line);
      expect(replayFile(fs, HUB_FLIGHT, { file: out, print }), lines.at(-1)).toBe(0);
    }),
    { numRuns: 60 },
  );
});
