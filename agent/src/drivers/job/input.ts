/** Reads the input of a step from the journal. What an older agent wrote may lack a field; it never names a path. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonValue, StepOrder } from "../driver.ts";
import { isHandle } from "../names.ts";
import { ENDINGS, type Ending } from "./ledger.ts";

export type StepInput = Readonly<{
  instance(): string;
  handle(): string;
  digest(): string;
  generation(): string | undefined;
  number(): number;
  try(): number;
  dueAt(): number | undefined;
  why(): Ending;
}>;

/** Each function throws INTERNAL `STEP_INPUT` if the field is absent or wrong: it was ours to write. */
export function inputOf({ verb, input }: StepOrder): StepInput {
  const wrong = (name: string, value: JsonValue | undefined) =>
    new Fault(
      "INTERNAL",
      "STEP_INPUT",
      `${verb}: ${name} in the step's input: got ${shown(value)}`,
    );
  const text = (name: string): string => {
    const value = input[name];
    if (typeof value === "string" && value !== "") return value;
    throw wrong(name, value);
  };
  const number = (name: string): number | undefined => {
    const value = input[name];
    if (value === undefined || (typeof value === "number" && value >= 0)) return value;
    throw wrong(name, value);
  };
  return {
    instance: () => text("instance"),
    handle: () => {
      const handle = text("handle");
      if (isHandle(handle)) return handle;
      throw wrong("handle", handle);
    },
    digest: () => text("digest"),
    generation: () => {
      const generation = input["generation"];
      if (generation === undefined) return undefined;
      if (typeof generation === "string" && /^\d+\.\d+$/.test(generation)) return generation;
      throw wrong("generation", generation);
    },
    number: () => number("number") ?? 0,
    try: () => number("try") ?? 1,
    dueAt: () => number("dueAt"),
    why: () => ENDINGS.find((each) => each === input["why"]) ?? "cancelled",
  };
}
