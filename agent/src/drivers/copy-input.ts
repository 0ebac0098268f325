/** The input of the steps of kinds whose copies run: starts, stops and what is done to one of them. */
import type { JsonValue, StepOrder } from "./driver.ts";
import { fieldsIn } from "./step-input.ts";

export type StepInput = Readonly<{
  instance(): string;
  handle(): string;
  digest(): string;
  restarts(): number;
  replaces(): readonly string[];
  signal(): string | undefined;
  graceMs(): number | undefined;
  drainMs(): number;
  keep(): boolean;
}>;

/** Each function throws INTERNAL `STEP_INPUT`, as fieldsIn. */
export function inputOf(order: StepOrder): StepInput {
  const { input } = order;
  const { named, text, number, handle } = fieldsIn(order);
  return {
    ...named,
    restarts: () => number("restarts") ?? 0,
    replaces: () => {
      const names = input["replaces"];
      return Array.isArray(names) ? (names as readonly JsonValue[]).map(handle) : [];
    },
    signal: () => (input["signal"] === undefined ? undefined : text("signal")),
    graceMs: () => number("graceMs"),
    drainMs: () => number("drainMs") ?? 0,
    keep: () => input["keep"] === true,
  };
}
