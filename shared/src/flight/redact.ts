/**
 * What of a state or an event may stand in a recorder's file. Strings are kept by permission, not left out by
 * suspicion: a machine's own words, reasons, ids and digests; of any other text only its size and the beginning of
 * its digest stay. Equal texts stay equal and others stay different, so a machine that passes texts on and compares
 * them runs the same on what was recorded.
 */
import { digestOf } from "../digest.ts";
import { Fault } from "../fault.ts";

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Reasons, ids, digests, and what stands for a text already. None of them needs an escape in JSON. */
const PLAIN =
  /^(?:[A-Z]{2,16}(?:_[A-Z]{1,16}){0,5}|[a-z]{3}_[0-9a-f]{32}|sha256:[0-9a-f]{64}|(?:text|bytes)\(\d{1,10}, [0-9a-f]{12}\))$/;
/** Of the properties that machines have; anything else is foreign. */
const KEY = /^[A-Za-z]{1,32}$/;
const DIGEST_DIGITS = 12;
/** Names of properties whose form is remembered; machines have fewer. */
const KEYS_MAX = 256;

/** Writes the values of one machine; its words must not need an escape in JSON. */
export class Redaction {
  readonly #words: ReadonlySet<string>;
  readonly #keys = new Map<string, string>();

  constructor(words: ReadonlySet<string>) {
    this.#words = words;
  }

  /** JSON from which `revived` makes what a machine takes for the same. Throws INTERNAL `FLIGHT_NOT_PLAIN`. */
  text(value: unknown): string {
    switch (typeof value) {
      case "boolean":
        return value ? "true" : "false";
      case "number":
        return Number.isFinite(value) && !Object.is(value, -0)
          ? `${value}`
          : `{"$number":"${nameOf(value)}"}`;
      case "bigint":
        return `{"$int":"${value}"}`;
      case "undefined":
        return '{"$none":true}';
      case "string":
        return this.#words.has(value) || PLAIN.test(value) ? `"${value}"` : maskedText(value);
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        throw notPlain(typeof value);
    }
  }

  #object(value: object): string {
    if (Array.isArray(value)) return `[${value.map((each) => this.text(each)).join(",")}]`;
    if (value instanceof Uint8Array) return masked("bytes", value);
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw notPlain("an instance of a class");
    }
    let text = "";
    for (const key in value) {
      const head = this.#keys.get(key) ?? this.#keyOf(key);
      text += `${text === "" ? "" : ","}${head}${this.text((value as Record<string, unknown>)[key])}`;
    }
    return `{${text}}`;
  }

  #keyOf(key: string): string {
    const head = `${KEY.test(key) || this.#words.has(key) ? `"${key}"` : maskedText(key)}:`;
    if (this.#keys.size < KEYS_MAX) this.#keys.set(key, head);
    return head;
  }
}

/** No machine's data is as deep. */
const DEPTH_MAX = 32;

/** The other way round; texts stay what stands for them. Undefined for what no recorder wrote. */
export function revived(json: Json): Readonly<{ value: unknown }> | undefined {
  try {
    return { value: revivedAt(json, 0) };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Throws SyntaxError for a number that is none, RangeError for what is too deep. */
function revivedAt(json: Json, depth: number): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (depth > DEPTH_MAX) throw new RangeError("too deep");
  if (Array.isArray(json)) return json.map((each) => revivedAt(each, depth + 1));
  const entries = Object.entries(json as Readonly<Record<string, Json>>);
  const [first] = entries;
  if (entries.length === 1 && first !== undefined) {
    const [key, value] = first;
    if (key === "$none") return undefined;
    if (key === "$int") return BigInt(String(value));
    if (key === "$number") return Number(value);
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, revivedAt(value, depth + 1)]));
}

function maskedText(text: string): string {
  return masked("text", Buffer.from(text));
}

function masked(what: "text" | "bytes", bytes: Uint8Array): string {
  const digest = digestOf(bytes).slice("sha256:".length, "sha256:".length + DIGEST_DIGITS);
  return `"${what}(${bytes.length}, ${digest})"`;
}

function nameOf(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function notPlain(what: string): Fault {
  return new Fault("INTERNAL", "FLIGHT_NOT_PLAIN", `flight recorder: ${what} is no plain data`);
}
