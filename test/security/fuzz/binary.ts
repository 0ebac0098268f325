/** Requests as bytes, made from their descriptor: tags that exist, with values of the right and the wrong form. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Random } from "@holdfast/shared/clock.ts";
import { below, pick, randomBytes } from "./chance.ts";
import { manyOf, type Shape } from "./json.ts";
import { anyText, BIG_INTEGERS } from "./values.ts";

const DEPTH_MAX = 5;
const INVALID_UTF8 = Uint8Array.of(0xc3, 0x28, 0xed, 0xa0, 0x80);
const utf8 = (text: string) => new TextEncoder().encode(text);

export function bytesOf(desc: DescMessage, shape: Shape, depth = 0): Uint8Array {
  const { random } = shape;
  const writer = new BinaryWriter();
  for (const field of desc.fields) {
    if (random() > 0.75) continue;
    const isMany = field.fieldKind === "list" || field.fieldKind === "map";
    const many = random() < shape.hostile / 20 ? manyOf(field, depth) : below(random, 3);
    for (let n = 0; n < (isMany ? many : 1); n++) writeField(writer, field, shape, depth);
  }
  if (random() < shape.hostile / 8)
    writer.tag(below(random, 20_000) + 1, WireType.Varint).uint64(1n);
  return writer.finish();
}

function writeField(writer: BinaryWriter, field: DescField, shape: Shape, depth: number): void {
  const { random, hostile } = shape;
  if (random() < hostile / 8) return void writeWrong(writer, field.number, random);
  if (field.fieldKind === "map") {
    const key = random() < hostile ? anyText(random) : pick(random, ["key", "a/b", "constructor"]);
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(utf8(key));
    writeValue(entry, 2, field, shape, depth);
    return void writer.tag(field.number, WireType.LengthDelimited).bytes(entry.finish());
  }
  writeValue(writer, field.number, field, shape, depth);
}

function writeWrong(writer: BinaryWriter, number: number, random: Random): BinaryWriter {
  return pick(random, [
    () => writer.tag(number, WireType.Varint).uint64(pick(random, BIG_INTEGERS)),
    () => writer.tag(number, WireType.Bit64).double(Number.NaN),
    () => writer.tag(number, WireType.Bit32).float(Number.NEGATIVE_INFINITY),
    () => writer.tag(number, WireType.StartGroup),
    () => writer.tag(number, WireType.EndGroup),
    () => writer.tag(number, WireType.LengthDelimited).uint32(0x7fff_ffff),
    () => writer.raw(nestedGroups(number, 150)),
    () =>
      writer.tag(number, WireType.LengthDelimited).bytes(randomBytes(random, below(random, 30))),
  ])();
}

function nestedGroups(number: number, depth: number): Uint8Array {
  const writer = new BinaryWriter();
  for (let n = 0; n < depth; n++) writer.tag(number, WireType.StartGroup);
  for (let n = 0; n < depth; n++) writer.tag(number, WireType.EndGroup);
  return writer.finish();
}

function writeValue(
  writer: BinaryWriter,
  number: number,
  { message, scalar }: DescField,
  shape: Shape,
  depth: number,
): void {
  const { random, known, hostile } = shape;
  if (message !== undefined) {
    const inner = depth >= DEPTH_MAX ? new Uint8Array() : bytesOf(message, shape, depth + 1);
    writer.tag(number, WireType.LengthDelimited).bytes(inner);
  } else if (scalar === ScalarType.STRING) {
    const text = utf8(random() < hostile ? anyText(random) : pick(random, known));
    writer
      .tag(number, WireType.LengthDelimited)
      .bytes(random() < hostile / 10 ? INVALID_UTF8 : text);
  } else if (scalar === ScalarType.BYTES) {
    writer.tag(number, WireType.LengthDelimited).bytes(randomBytes(random, below(random, 40)));
  } else if (scalar === ScalarType.DOUBLE) {
    writer.tag(number, WireType.Bit64).double(pick(random, [0, -1, 1e308, Number.NaN, 0.5]));
  } else {
    const value = random() < hostile ? pick(random, BIG_INTEGERS) : BigInt(below(random, 5));
    writer.tag(number, WireType.Varint).uint64(value);
  }
}

export function damagedBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const at = below(random, bytes.length + 1);
  return pick(random, [
    () => bytes.slice(0, at),
    () => bytes.map((byte, n) => (n === at ? byte ^ (1 << below(random, 8)) : byte)),
    () => Buffer.concat([bytes.slice(0, at), randomBytes(random, 3), bytes.slice(at)]),
    () => Buffer.concat([bytes, nestedGroups(1 + below(random, 10), 101)]),
    () => randomBytes(random, below(random, 200)),
  ])();
}
