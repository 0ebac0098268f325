/** Reads the input of a step from the journal. What an older agent wrote may lack a field; it never names a path. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonValue, StepOrder } from "../driver.ts";
import { isHandle } from "../names.ts";

export type StepInput = Readonly<{
  instance(): string;
  handle(): string;
  digest(): string;
  /** Put back what stood there before. */
  back(): boolean;
}>;

/** Each function throws INTERNAL `STEP_INPUT` if the field is absent or wrong: it was ours to write. */
export function inputOf({ verb, input }: StepOrder): StepInput {
  const wrong = (name: string, value: JsonValue | undefined) => {
    const message = `${verb}: ${name} in the step's input: got ${shown(value)}`;
    return new Fault("INTERNAL", "STEP_INPUT", message);
  };
  const text = (name: string): string => {
    const value = input[name];
    if (typeof value === "string" && value !== "") return value;
    throw wrong(name, value);
  };
  return {
    instance: () => text("instance"),
    handle: () => {
      const handle = text("handle");
      if (!isHandle(handle)) throw wrong("handle", handle);
      return handle;
    },
    digest: () => text("digest"),
    back: () => input["back"] === true,
  };
}
