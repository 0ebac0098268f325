/** Requests as JSON, made from their descriptor: mostly of the right shape, with something wrong in it. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import type { Random } from "@holdfast/shared/clock.ts";
import { below, pick, randomBytes } from "./chance.ts";
import { anyText, NUMBERS, WRONG_TYPES } from "./values.ts";

const DEPTH_MAX = 5;

export type Shape = Readonly<{
  random: Random;
  /** Names and ids that exist, so that inputs reach what lies behind the look-up. */
  known: readonly string[];
  /** How often a value is a hostile one. */
  hostile: number;
}>;

/** Elements of a list that is too long; of messages fewer, since each is larger. */
export function manyOf({ message }: DescField, depth: number): number {
  return message === undefined ? 3_000 : depth === 0 ? 200 : 20;
}

/** Such as google.protobuf.Timestamp: their JSON is not that of their fields. */
const WELL_KNOWN: Readonly<Record<string, (shape: Shape) => unknown>> = {
  "google.protobuf.Timestamp": () => "2026-01-01T00:00:00Z",
  "google.protobuf.Duration": () => "60s",
  "google.protobuf.FieldMask": () => "metadata.name",
  "google.protobuf.Struct": ({ random }) => structOf(random, 0),
  "google.protobuf.Value": ({ random }) => structOf(random, 0),
};

export function jsonOf(desc: DescMessage, shape: Shape, depth = 0): unknown {
  const { random } = shape;
  const wellKnown = WELL_KNOWN[desc.typeName];
  if (wellKnown !== undefined) return wellKnown(shape);
  const entries = desc.fields
    .filter(() => random() < 0.75)
    .map((field) => [
      pick(random, [field.jsonName, field.jsonName, field.name]),
      fieldOf(field, shape, depth),
    ]);
  if (random() < shape.hostile / 10) entries.push([anyText(random), anyText(random)]);
  return Object.fromEntries(entries);
}

function fieldOf(field: DescField, shape: Shape, depth: number): unknown {
  const { random } = shape;
  if (random() < shape.hostile / 8) return pick(random, WRONG_TYPES);
  const one = () => givenFor(field, shape, depth);
  if (field.fieldKind === "list") {
    const count = random() < shape.hostile / 20 ? manyOf(field, depth) : below(random, 3);
    return Array.from({ length: count }, one);
  }
  if (field.fieldKind === "map") {
    const count = random() < shape.hostile / 20 ? manyOf(field, depth) : below(random, 3);
    const key = (n: number) => (random() < shape.hostile ? anyText(random) : `key-${n}`);
    return Object.fromEntries(Array.from({ length: count }, (_, n) => [key(n), one()]));
  }
  return one();
}

function givenFor(field: DescField, shape: Shape, depth: number): unknown {
  const { random, known, hostile } = shape;
  if (field.message !== undefined) {
    return depth >= DEPTH_MAX ? {} : jsonOf(field.message, shape, depth + 1);
  }
  if (field.enum !== undefined) {
    const { values } = field.enum;
    return random() < hostile ? pick(random, [-1, 99, "NOPE", 1.5]) : pick(random, values).name;
  }
  switch (field.scalar) {
    case ScalarType.STRING:
      return random() < hostile ? anyText(random) : pick(random, known);
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.BYTES: {
      if (random() < hostile) return anyText(random);
      return Buffer.from(randomBytes(random, below(random, 40))).toString("base64");
    }
    default:
      return random() < hostile ? pick(random, NUMBERS) : below(random, 10);
  }
}

/** Any JSON, as a Struct holds it. */
function structOf(random: Random, depth: number): unknown {
  const entry = () => (depth < 4 && random() < 0.4 ? structOf(random, depth + 1) : anyText(random));
  const keys = ["source", "batchRows", "constructor", "a.b", "", anyText(random)];
  return Object.fromEntries(
    Array.from({ length: below(random, 4) }, () => [
      pick(random, keys),
      random() < 0.3 ? pick(random, NUMBERS) : entry(),
    ]),
  );
}

/** Text that no serialiser writes. */
export function damagedJson(text: string, random: Random): string {
  const at = below(random, text.length + 1);
  const rest = text.slice(1);
  return pick(random, [
    () => text.slice(0, at),
    () =>
      `${text.slice(0, at)}${pick(random, ['"', "{", "[", ",", "\0", "\\", "1e999"])}${text.slice(at)}`,
    () => `{"__proto__":{"admin":true}${rest === "}" ? "" : ","}${rest}`,
    () => `{"tenant":"a","tenant":"b"${rest === "}" ? "" : ","}${rest}`,
    () => `{"labels":${"[".repeat(100_000)}`,
    () => `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
    () => `[${text}]`,
    () => pick(random, ["", "null", "true", "1", '"x"', "[]", "undefined", "NaN", "\ufeff{}"]),
  ])();
}
