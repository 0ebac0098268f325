/**
 * Reads a plain value field by field and gathers every violation with its path, the value and the rule, so that
 * an author sees all problems of a document at once. Returns undefined where a field is absent or wrong.
 */
import type { Violation } from "../fault.ts";
import { shown, suggestion } from "../text.ts";

export type PlainObject = Readonly<Record<string, unknown>>;

export function isPlainObject(value: unknown): value is PlainObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `a.b`, `a[0]`, and `a["b c"]` for names that need quotes. */
export function below(path: string, key: string | number): string {
  if (typeof key === "number") return `${path}[${key}]`;
  const isWord = /^[A-Za-z_][A-Za-z0-9_-]*$/.test(key);
  if (!isWord) return `${path}[${JSON.stringify(shown(key))}]`;
  return path === "" ? key : `${path}.${key}`;
}

export type TextRule = Readonly<{ pattern: RegExp; allowed: string }>;
export type Bounds = Readonly<{ min: number; max: number }>;

/** One object of a document. Fields are asked for by name; `finish` refuses those that nobody knows. */
export class Shape {
  readonly path: string;
  readonly #value: PlainObject;
  readonly #found: Violation[];
  readonly #known = new Set<string>();

  /** Problems are added to `found`. */
  constructor(value: unknown, path: string, found: Violation[]) {
    this.path = path;
    this.#found = found;
    this.#value = isPlainObject(value) ? value : {};
    if (!isPlainObject(value)) this.#wrong(path, "not a map", value, "a map of fields");
  }

  /** `key` is a field or a path below this object, such as `below("env", name)`. */
  add(key: string, problem: string, value: unknown, allowed: string): void {
    this.#wrong(this.path === "" ? key : `${this.path}.${key}`, problem, value, allowed);
  }

  has(key: string): boolean {
    return this.#get(key) !== undefined;
  }

  raw(key: string): unknown {
    return this.#get(key);
  }

  /** Text that fits the rule. */
  text(key: string, rule: TextRule, isRequired = false): string | undefined {
    const value = this.#get(key);
    if (value === undefined) return this.#absent(key, isRequired, rule.allowed);
    if (typeof value === "string" && rule.pattern.test(value)) return value;
    const problem = typeof value === "string" ? "not of this form" : "not text";
    this.add(key, problem, value, rule.allowed);
    return undefined;
  }

  /** A whole number; never made from text. */
  integer(key: string, { min, max }: Bounds, isRequired = false): number | undefined {
    const value = this.#get(key);
    const allowed = `a whole number from ${min} to ${max}`;
    if (value === undefined) return this.#absent(key, isRequired, allowed);
    if (typeof value !== "number" || !Number.isSafeInteger(value)) {
      this.add(key, "not a whole number", value, allowed);
      return undefined;
    }
    if (value >= min && value <= max) return value;
    this.add(key, "out of range", value, allowed);
    return undefined;
  }

  choice<const W extends string>(key: string, words: readonly W[]): W | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    const found = words.find((word) => word === value);
    if (found === undefined) this.add(key, "unknown word", value, words.join(", "));
    return found;
  }

  list(key: string, itemsMax: number, isRequired = false): readonly unknown[] {
    const value = this.#get(key);
    const allowed = `a list of at most ${itemsMax}`;
    if (value === undefined) return this.#absent(key, isRequired, allowed) ?? [];
    if (!Array.isArray(value)) {
      this.add(key, "not a list", value, allowed);
      return [];
    }
    if (value.length <= itemsMax) return value;
    this.add(key, `${value.length} items are too many`, "", allowed);
    return [];
  }

  /** Entries of a map with free keys. */
  entries(key: string, entriesMax: number): readonly (readonly [string, unknown])[] {
    const value = this.#get(key);
    if (value === undefined) return [];
    const allowed = `a map of at most ${entriesMax} entries`;
    if (!isPlainObject(value)) {
      this.add(key, "not a map", value, allowed);
      return [];
    }
    const entries = Object.entries(value);
    if (entries.length <= entriesMax) return entries;
    this.add(key, `${entries.length} entries are too many`, "", allowed);
    return [];
  }

  /** The object in a field; undefined if there is none. */
  object(key: string): Shape | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    return new Shape(value, below(this.path, key), this.#found);
  }

  /** One item of a list that `list` gave. */
  item(key: string, index: number, value: unknown): Shape {
    return new Shape(value, below(below(this.path, key), index), this.#found);
  }

  /** Refuses fields that were not asked for. Call it last. */
  finish(): void {
    const known = [...this.#known];
    for (const key of Object.keys(this.#value)) {
      if (this.#known.has(key)) continue;
      const near = suggestion(key, known);
      const hint = near === undefined ? `known: ${known.join(", ")}` : `did you mean ${near}?`;
      this.#found.push({ path: below(this.path, key), message: `unknown field; ${hint}` });
    }
  }

  #get(key: string): unknown {
    this.#known.add(key);
    // Null is how YAML says that nothing stands there.
    return Object.hasOwn(this.#value, key) ? (this.#value[key] ?? undefined) : undefined;
  }

  #absent(key: string, isRequired: boolean, allowed: string): undefined {
    if (isRequired) {
      this.#found.push({ path: below(this.path, key), message: `required; allowed: ${allowed}` });
    }
    return undefined;
  }

  #wrong(path: string, problem: string, value: unknown, allowed: string): void {
    const got = value === "" ? "" : `; got ${shown(value)}`;
    this.#found.push({ path, message: `${problem}${got}; allowed: ${allowed}` });
  }
}
