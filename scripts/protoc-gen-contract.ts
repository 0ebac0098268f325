/**
 * Plugin of `buf generate`: what the contracts say of the objects that people write, in one small JSON file for
 * `holdfast explain`. Generated messages carry no comments, and their rules would cost every start.
 */
import {
  createRegistry,
  type DescEnum,
  type DescExtension,
  type DescField,
  type DescMessage,
  getOption,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createEcmaScriptPlugin, getComments, runNodeJs, type Schema } from "@bufbuild/protoplugin";

const KINDS =
  /^holdfast\.api\.v1\.(Tenant|Member|Product|Release|Environment|Plan|Cell|Agent|Subscription|Instance|Seat)$/;
const RULES = "buf.validate.field";
const IMMUTABLE = "holdfast.api.v1.immutable";

type Field = { name: string; type: string; doc?: string; rules?: string[] };
type Contract = {
  messages: Record<string, { doc?: string; fields: Field[] }>;
  enums: Record<string, { word: string; doc?: string }[]>;
};
type Options = Readonly<{ rules: DescExtension; immutable: DescExtension }>;

runNodeJs(
  createEcmaScriptPlugin({ name: "protoc-gen-contract", version: "v1", generateTs: generate }),
);

function generate(schema: Schema): void {
  const registry = createRegistry(...schema.allFiles);
  const [rules, immutable] = [RULES, IMMUTABLE].map((name) => registry.getExtension(name));
  if (rules === undefined || immutable === undefined) throw new Error(`no ${RULES}, ${IMMUTABLE}`);
  const contract: Contract = { messages: {}, enums: {} };
  const messages = schema.allFiles.flatMap(({ messages: all }) => all);
  for (const message of messages.filter(({ typeName }) => KINDS.test(typeName))) {
    addMessage(contract, message, { rules, immutable });
  }
  const file = schema.generateFile("contract.json");
  file.print(JSON.stringify(contract, undefined, 1));
}

function addMessage(contract: Contract, message: DescMessage, options: Options): void {
  if (message.typeName in contract.messages) return;
  const entry: Contract["messages"][string] = { ...docOf(message), fields: [] };
  contract.messages[message.typeName] = entry;
  for (const field of message.fields) {
    const rules = rulesOf(field, options);
    entry.fields.push({
      name: field.jsonName,
      type: typeOf(field),
      ...docOf(field),
      ...(rules.length > 0 && { rules }),
    });
    if (field.enum !== undefined) addEnum(contract, field.enum);
    const isOurs = field.message?.typeName.startsWith("holdfast.") === true;
    if (isOurs && field.message !== undefined) addMessage(contract, field.message, options);
  }
}

function addEnum(contract: Contract, described: DescEnum): void {
  const prefix = described.sharedPrefix ?? "";
  contract.enums[described.typeName] = described.values
    .filter(({ number }) => number !== 0)
    .map((value) => ({ word: value.name.toLowerCase().slice(prefix.length), ...docOf(value) }));
}

function docOf(desc: Parameters<typeof getComments>[0]): { doc?: string } {
  const { leading, trailing } = getComments(desc);
  const text = [leading, trailing].filter((each) => each !== undefined).join(" ");
  const doc = text.replaceAll(/\s+/g, " ").trim();
  return doc === "" ? {} : { doc };
}

const KNOWN: Readonly<Record<string, string>> = {
  "google.protobuf.Struct": "map of any values",
  "google.protobuf.Timestamp": "time",
  "google.protobuf.Duration": "duration",
};

function typeOf(field: DescField): string {
  const one = oneTypeOf(field);
  if (field.fieldKind === "list") return `list of ${one}`;
  return field.fieldKind === "map" ? `map of text to ${one}` : one;
}

function oneTypeOf({ message, enum: words, scalar }: DescField): string {
  if (message !== undefined) return KNOWN[message.typeName] ?? message.typeName;
  if (words !== undefined) return words.typeName;
  if (scalar === ScalarType.STRING) return "text";
  if (scalar === ScalarType.BOOL) return "true or false";
  return scalar === ScalarType.BYTES ? "bytes in base64" : "whole number";
}

function rulesOf(field: DescField, { rules, immutable }: Options): string[] {
  const said = getOption(field, rules) as Message & Record<string, unknown>;
  const isSet = getOption(field, immutable) === true;
  return [...wordsOf(rules.message, said, ""), ...(isSet ? ["never changes"] : [])];
}

/** Rules of the standard set as a person says them; others by their own name, so that none is lost. */
const WORDS: Readonly<Record<string, (value: unknown) => string>> = {
  required: () => "required",
  "string.min_len": (n) => (n === 1n ? "not empty" : `at least ${n} characters`),
  "string.max_len": (n) => `at most ${n} characters`,
  "string.pattern": (pattern) => `matches ${pattern}`,
  "map.max_pairs": (n) => `at most ${n} entries`,
  "map.keys.string.max_len": (n) => `keys of at most ${n} characters`,
  "map.values.string.max_len": (n) => `values of at most ${n} characters`,
  "repeated.max_items": (n) => `at most ${n} items`,
  "repeated.min_items": (n) => `at least ${n} items`,
};
const COMPARED: Readonly<Record<string, string>> = {
  gte: "at least",
  lte: "at most",
  gt: "more than",
  lt: "less than",
};

function wordsOf(desc: DescMessage | undefined, message: Message, path: string): string[] {
  if (desc === undefined) return [];
  const seen = reflect(desc, message);
  return seen.fields
    .filter((field) => seen.isSet(field))
    .flatMap((field) => {
      const here = path === "" ? field.name : `${path}.${field.name}`;
      const value = seen.get(field);
      if (field.message !== undefined && field.fieldKind === "message") {
        return wordsOf(field.message, (value as { message: Message }).message, here);
      }
      // The words themselves stand in the type.
      if (here === "enum.defined_only") return [];
      const compared = COMPARED[field.name];
      return [WORDS[here]?.(value) ?? (compared ? `${compared} ${value}` : `${here} ${value}`)];
    });
}
