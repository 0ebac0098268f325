/** Reads the input of a step from the journal. What an older agent wrote may lack a field; it never names a path. */
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { JsonValue, StepOrder } from "./driver.ts";
import { isHandle } from "./names.ts";

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
  const handle = (value: JsonValue | undefined): string => {
    if (typeof value === "string" && isHandle(value)) return value;
    throw wrong("handle", value);
  };
  return {
    instance: () => text("instance"),
    handle: () => handle(input["handle"]),
    digest: () => text("digest"),
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
