/**
 * Other instances that a release names: which product each is of, and which of its published outputs are asked for, with
 * their types. Publish judges the declaration, the hub which instance stands for each, the agent what that one gives out.
 */
import type { JsonValue } from "@bufbuild/protobuf";
import type { Violation } from "../fault.ts";
import { shown } from "../text.ts";
import { below } from "./shape.ts";

export const INSTANCES_MAX = 20;
export const INSTANCE_OUTPUTS_MAX = 100;

export const OUTPUT_TYPES = ["string", "integer", "number", "boolean", "any"] as const;
export type OutputType = (typeof OUTPUT_TYPES)[number];

export type InstanceContent = Readonly<{
  name: string;
  product: string;
  outputs: Readonly<Record<string, string>>;
}>;

const NAME = /^[a-z][a-z0-9_]{0,62}$/;
const OUTPUT = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const PRODUCT = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;

export function checkInstances(instances: readonly InstanceContent[]): readonly Violation[] {
  if (instances.length > INSTANCES_MAX) {
    const message = `${instances.length} are too many; allowed: ${INSTANCES_MAX}`;
    return [{ path: "instances", message }];
  }
  return instances.flatMap(({ name, product, outputs }, i) => {
    const path = below("instances", i);
    const found: Violation[] = [];
    const wrong = (at: string, value: string, allowed: string) =>
      found.push({ path: at, message: `got ${shown(value)}; allowed: ${allowed}` });
    if (!NAME.test(name)) wrong(below(path, "name"), name, NAME.source);
    if (instances.findIndex((each) => each.name === name) < i) {
      found.push({ path: below(path, "name"), message: `${shown(name)} is there twice` });
    }
    if (!PRODUCT.test(product)) wrong(below(path, "product"), product, "the name of a product");
    const entries = Object.entries(outputs);
    if (entries.length === 0 || entries.length > INSTANCE_OUTPUTS_MAX) {
      wrong(below(path, "outputs"), String(entries.length), `1 to ${INSTANCE_OUTPUTS_MAX} outputs`);
    }
    for (const [output, type] of entries) {
      const at = below(below(path, "outputs"), output);
      if (!OUTPUT.test(output))
        wrong(at, output, "letters, digits and _, at most 63, a letter first");
      if (!isOutputType(type)) wrong(at, type, OUTPUT_TYPES.join(", "));
    }
    return found;
  });
}

function isOutputType(word: string): word is OutputType {
  return OUTPUT_TYPES.some((type) => type === word);
}

/** What is wrong with what an instance gives out, as one line; undefined where it fits. */
export function outputsProblem(
  asked: Readonly<Record<string, string>>,
  given: Readonly<Record<string, JsonValue>>,
): string | undefined {
  for (const [name, type] of Object.entries(asked)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined) return `it publishes no output ${name}`;
    if (
      type !== "any" &&
      typeOf(value) !== type &&
      !(type === "number" && typeOf(value) === "integer")
    ) {
      return `its output ${name} is of type ${typeOf(value)}; allowed: ${type}`;
    }
  }
  return undefined;
}

function typeOf(value: JsonValue): string {
  if (Number.isSafeInteger(value)) return "integer";
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
