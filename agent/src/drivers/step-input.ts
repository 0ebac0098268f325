/** Reads the input of a step from the journal. What an older agent wrote may lack a field; it never names a path. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonValue, StepOrder } from "./driver.ts";
import { isHandle } from "./names.ts";

/** Each function throws INTERNAL `STEP_INPUT` if the field is absent or wrong: it was ours to write. */
export function fieldsIn({ verb, input }: StepOrder) {
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
  const handle = (value: JsonValue | undefined): string => {
    if (typeof value === "string" && isHandle(value)) return value;
    throw wrong("handle", value);
  };
  return {
    wrong,
    text,
    handle,
    number: (name: string): number | undefined => {
      const value = input[name];
      if (value === undefined || (typeof value === "number" && value >= 0)) return value;
      throw wrong(name, value);
    },
    /** What every order has that is about one copy. */
    named: {
      instance: () => text("instance"),
      handle: () => handle(input["handle"]),
      digest: () => text("digest"),
    },
  };
}
