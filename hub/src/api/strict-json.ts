/**
 * Bytes of a JSON request as text, refused before anything is built of them when they are no UTF-8, nested too
 * deep, or hold what readers understand differently: a key twice, a lone surrogate, `__proto__`, a number in a form
 * other than the decimal one. Whether the rest is JSON at all is left to the parser behind.
 */
import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import { Fault, invalid } from "@holdfast/shared/fault.ts";
import { numberProblems } from "@holdfast/shared/number-forms.ts";
import { shown } from "@holdfast/shared/text.ts";

/** Objects and lists within each other; that of protobuf's binary form is the same. */
export const JSON_DEPTH_MAX = 100;

/** As Connect wants one: what it throws becomes the answer. */
export const strictJson = {
  /** Throws INVALID_ARGUMENT `REQUEST_MALFORMED`. */
  decode(bytes: Uint8Array): string {
    const text = utf8(bytes);
    new Scan(text).run();
    return text;
  },
} as const;

/** The same for requests of one kind, whose numbers can then be judged too. Throws also `REQUEST_INVALID`. */
export function strictRequest(schema: DescMessage): typeof strictJson {
  return {
    decode(bytes) {
      const text = strictJson.decode(bytes);
      const problems = numberProblems(schema, parsed(text));
      if (problems.length > 0) throw invalid("REQUEST_INVALID", problems);
      return text;
    },
  };
}

/** Null for what is no JSON: the parser behind says so. */
function parsed(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw malformed("it is not UTF-8", error);
  }
}

function malformed(what: string, cause?: unknown): Fault {
  return new Fault("INVALID_ARGUMENT", "REQUEST_MALFORMED", `JSON of the request: ${what}`, {
    cause,
  });
}

/** Keys that the object has so far; undefined in a list. */
type Level = Set<string> | undefined;

/** One pass over the text; strings are skipped as a whole. */
class Scan {
  readonly #text: string;
  readonly #levels: Level[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  run(): void {
    const interesting = /["{}[\]]/g;
    for (let found = interesting.exec(this.#text); found !== null; ) {
      const [at] = found;
      if (at === '"') interesting.lastIndex = this.#string(found.index);
      else if (at === "{" || at === "[") this.#open(at === "{" ? new Set() : undefined);
      else this.#levels.pop();
      found = interesting.exec(this.#text);
    }
  }

  #open(level: Level): void {
    this.#levels.push(level);
    if (this.#levels.length > JSON_DEPTH_MAX) {
      throw malformed(`nested deeper than ${JSON_DEPTH_MAX}, the nesting limit`);
    }
  }

  /** Judges the string that begins here; gives where it has ended. */
  #string(begin: number): number {
    const end = endOfString(this.#text, begin);
    const literal = this.#text.slice(begin, end);
    if (literal.includes("\\u") && !meantBy(literal).isWellFormed()) {
      throw malformed(`half of a surrogate pair in ${shown(meantBy(literal))}`);
    }
    const keys = this.#levels.at(-1);
    if (keys !== undefined && isKey(this.#text, end)) this.#key(keys, meantBy(literal));
    return end;
  }

  #key(keys: Set<string>, key: string): void {
    if (key === "__proto__") throw malformed("no key may be __proto__");
    if (keys.has(key)) throw malformed(`the key ${shown(key)} is there twice in one object`);
    keys.add(key);
  }
}

/** After the closing quote, or the end of the text where there is none. */
function endOfString(text: string, begin: number): number {
  for (
    let quote = text.indexOf('"', begin + 1);
    quote !== -1;
    quote = text.indexOf('"', quote + 1)
  ) {
    let escapes = quote;
    while (text[escapes - 1] === "\\") escapes -= 1;
    if ((quote - escapes) % 2 === 0) return quote + 1;
  }
  return text.length;
}

function isKey(text: string, end: number): boolean {
  let at = end;
  while (" \t\n\r".includes(text[at] ?? "x")) at += 1;
  return text[at] === ":";
}

/** What a literal means; the literal itself where the parser will refuse it. */
function meantBy(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, -1);
  try {
    return JSON.parse(literal);
  } catch {
    return literal;
  }
}
