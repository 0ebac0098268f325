/** A machine with everything that a recorded one may have, and a recorder in a folder of its own. */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Random } from "../clock.ts";
import { systemClock } from "../clock.ts";
import type { FlightPlan } from "./commands.ts";
import type { Machine } from "./machine.ts";
import { type FlightBounds, FlightRecorder } from "./recorder.ts";
import type { FileSystem } from "./ring.ts";

export type ToyState = Readonly<{
  phase: "calm" | "excited";
  count: number;
  total: bigint;
  heard: string | undefined;
}>;
export type ToyEvent =
  | Readonly<{ type: "poke"; by: bigint }>
  | Readonly<{ type: "say"; text: string; note?: string | undefined }>
  | Readonly<{ type: "roll"; times: number }>
  | Readonly<{ type: "break" | "nothing" }>;
export type ToyEffect = Readonly<{ type: "echo"; text: string; at: number }>;

export const TOY_START: ToyState = { phase: "calm", count: 0, total: 0n, heard: undefined };

export const toyMachine: Machine<ToyState, ToyEvent, ToyEffect> = {
  name: "toy",
  words: new Set(["calm", "excited", "poke", "say", "roll", "break", "nothing", "echo", "louder"]),
  step(state, event, now, random) {
    switch (event.type) {
      case "poke":
        return [{ ...state, phase: "excited", total: state.total + event.by }, []];
      case "say": {
        const isNew = state.heard !== event.text;
        const echo: ToyEffect = { type: "echo", text: isNew ? event.text : "louder", at: now };
        return [{ ...state, heard: event.text, count: state.count + 1 }, [echo]];
      }
      case "roll":
        return [{ ...state, count: rolled(state.count, event.times, random) }, []];
      case "break":
        throw new RangeError("it broke");
      case "nothing":
        return [state, []];
    }
  },
};

function rolled(count: number, times: number, random: Random): number {
  let sum = count;
  for (let i = 0; i < times; i++) sum += random();
  return sum;
}

export const TOY_PLAN: FlightPlan = {
  program: "toy",
  machines: [toyMachine],
  bounds: { segmentBytesMax: 64 * 1024, segmentStepsMax: 1_000 },
  folderIn: (directory) => join(directory, "flight"),
};

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

export type ToyWorld = Readonly<{
  directory: string;
  folder: string;
  logged: readonly string[];
  recorder(bounds?: FlightBounds, system?: FileSystem): FlightRecorder;
  dispose(): void;
}>;

export function toyWorld(): ToyWorld {
  const directory = fs.mkdtempSync(join(tmpdir(), "holdfast-flight-"));
  const logged: string[] = [];
  let lives = 0;
  return {
    directory,
    folder: join(directory, "flight"),
    logged,
    recorder: (bounds = TOY_PLAN.bounds, system = fs) =>
      new FlightRecorder({
        ...{ fs: system, directory, version: "1.2.3", life: `life${++lives}`, clock: systemClock },
        plan: { ...TOY_PLAN, bounds },
        log: { ...silent, warn: (_, message) => void logged.push(message) },
      }),
    dispose: () => fs.rmSync(directory, { recursive: true, force: true }),
  };
}
