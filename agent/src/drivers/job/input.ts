/** The input of the steps of jobs. */
import type { StepOrder } from "../driver.ts";
import { fieldsIn } from "../step-input.ts";
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

/** Each function throws INTERNAL `STEP_INPUT`, as fieldsIn. */
export function inputOf(order: StepOrder): StepInput {
  const { input } = order;
  const { named, number, wrong } = fieldsIn(order);
  return {
    ...named,
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
