/**
 * Numbers of a JSON document that is to become a message, judged before anything reads them. Text that a reader would
 * quietly turn into another number (`0x10`, `010`, `1e3`), what no number can hold, and what is no number at all is
 * told by path, value and rule. The decimal text that protobuf writes for 64 bits is taken. Pure; what else is wrong
 * with the document is left to its reader.
 */
import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { VIOLATIONS_MAX, type Violation } from "./fault.ts";
import { shown } from "./text.ts";

type WholeForm = Readonly<{ min: bigint; max: bigint }>;

const INT32: WholeForm = { min: -(2n ** 31n), max: 2n ** 31n - 1n };
const UINT32: WholeForm = { min: 0n, max: 2n ** 32n - 1n };
const INT64: WholeForm = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const UINT64: WholeForm = { min: 0n, max: 2n ** 64n - 1n };

const WHOLE_FORMS: ReadonlyMap<ScalarType, WholeForm> = new Map([
  [ScalarType.INT32, INT32],
  [ScalarType.SINT32, INT32],
  [ScalarType.SFIXED32, INT32],
  [ScalarType.UINT32, UINT32],
  [ScalarType.FIXED32, UINT32],
  [ScalarType.INT64, INT64],
  [ScalarType.SINT64, INT64],
  [ScalarType.SFIXED64, INT64],
  [ScalarType.UINT64, UINT64],
  [ScalarType.FIXED64, UINT64],
]);

/** 20 digits hold every number of 64 bits. */
const WHOLE_TEXT = /^(0|-?[1-9]\d{0,19})$/;
const DECIMAL_TEXT = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const SECONDS_TEXT = /^-?(0|[1-9]\d*)(\.\d{1,9})?s$/;

/** At most VIOLATIONS_MAX, in the order of the document. */
export function numberProblems(schema: DescMessage, document: JsonValue): readonly Violation[] {
  const problems: Violation[] = [];
  lookAtMessage(schema, document, "", problems);
  return problems.slice(0, VIOLATIONS_MAX);
}

/** What is wrong with a value for a field of numbers; undefined for a good one, and for fields of other types. */
export function numberProblem(type: ScalarType, value: JsonValue): string | undefined {
  const form = WHOLE_FORMS.get(type);
  if (form !== undefined) return wholeProblem(form, value);
  const isReal = type === ScalarType.DOUBLE || type === ScalarType.FLOAT;
  if (!isReal || isDecimal(value)) return undefined;
  return refusal(value, "a decimal number such as 0.5");
}

function wholeProblem({ min, max }: WholeForm, value: JsonValue): string | undefined {
  const isExact = typeof value === "number" && Number.isSafeInteger(value);
  const isText = typeof value === "string" && WHOLE_TEXT.test(value);
  if (isExact || isText) {
    const whole = BigInt(value);
    return whole >= min && whole <= max ? undefined : refusal(value, `${min} to ${max}`);
  }
  const isRounded = Number.isInteger(value);
  const rule = isRounded
    ? "beyond 9007199254740991 as text, which is exact"
    : "a decimal integer such as 16";
  return refusal(value, rule);
}

function isDecimal(value: JsonValue): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  return typeof value === "string" && DECIMAL_TEXT.test(value) && Number.isFinite(Number(value));
}

function refusal(value: JsonValue, allowed: string): string {
  const got = typeof value === "string" ? `"${shown(value)}"` : shown(given(value));
  return `got ${got}; allowed: ${allowed}`;
}

/** JSON has no word for what is too large, and would say null. */
function given(value: JsonValue): JsonValue {
  return typeof value === "number" ? String(value) : value;
}

function lookAtMessage(
  schema: DescMessage,
  value: JsonValue,
  path: string,
  problems: Violation[],
): void {
  if (!isMap(value)) return;
  for (const [key, child] of Object.entries(value)) {
    if (problems.length >= VIOLATIONS_MAX) return;
    const field = schema.fields.find(({ jsonName, name }) => key === jsonName || key === name);
    if (field === undefined || child === null) continue;
    const here = path === "" ? field.name : `${path}.${field.name}`;
    lookAtField(field, child, here, problems);
  }
}

function lookAtField(
  field: DescField,
  value: JsonValue,
  path: string,
  problems: Violation[],
): void {
  if (field.fieldKind === "list") {
    if (!Array.isArray(value)) return;
    for (const [at, each] of value.entries()) {
      if (problems.length >= VIOLATIONS_MAX) return;
      lookAtOne(field, each, `${path}[${at}]`, problems);
    }
    return;
  }
  if (field.fieldKind === "map") {
    if (!isMap(value)) return;
    for (const [key, each] of Object.entries(value)) {
      if (problems.length >= VIOLATIONS_MAX) return;
      lookAtOne(field, each, `${path}["${shown(key)}"]`, problems);
    }
    return;
  }
  lookAtOne(field, value, path, problems);
}

function lookAtOne(field: DescField, value: JsonValue, path: string, problems: Violation[]): void {
  const { message, scalar } = field;
  const tell = (problem: string | undefined) => {
    if (problem !== undefined) problems.push({ path, message: problem });
  };
  if (scalar !== undefined) tell(numberProblem(scalar, value));
  if (message === undefined) return;
  if (message.file.proto.package !== "google.protobuf") {
    lookAtMessage(message, value, path, problems);
  } else {
    tell(knownProblem(message, value));
  }
}

/** Messages that have JSON forms of their own: durations, and the free documents of Struct. */
export function knownProblem({ name }: DescMessage, value: JsonValue): string | undefined {
  if (name === "Duration" && typeof value === "string" && !SECONDS_TEXT.test(value)) {
    return refusal(value, "seconds such as 3600s");
  }
  if (name === "Struct" || name === "Value" || name === "ListValue") return freeProblem(value);
  return undefined;
}

function freeProblem(value: JsonValue): string | undefined {
  if (typeof value === "number") {
    return Number.isFinite(value) ? undefined : refusal(value, "a number that is not too large");
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const each of Object.values(value)) {
    const problem = freeProblem(each as JsonValue);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isMap(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
