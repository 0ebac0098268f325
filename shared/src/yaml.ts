/**
 * Strict YAML 1.2 (and so JSON) text to plain values. Pure. Refuses what two readers could understand in two
 * ways or what costs more than its length: tabs as indentation, duplicate keys, tags, directives, numbers in
 * forms other than JSON's, deep nesting, and aliases beyond a small number. All problems come at once, each
 * with line:column.
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
  type Scalar,
} from "yaml";
import { invalid, type Violation } from "./fault.ts";
import { shown } from "./text.ts";

export type PlainValue =
  | null
  | boolean
  | number
  | string
  | readonly PlainValue[]
  | { readonly [key: string]: PlainValue };

/** One document of a text and the line on which its content starts, counted from 1. */
export type YamlDocument = Readonly<{ value: PlainValue; line: number }>;

export const YAML_BYTES_MAX = 1_048_576;
export const YAML_ALIASES_MAX = 50;
export const YAML_DEPTH_MAX = 100;
export const YAML_DOCUMENTS_MAX = 1_000;
/** Values after the aliases are expanded: 50 aliases can still multiply to millions. */
export const YAML_VALUES_MAX = 200_000;

const PROBLEMS_MAX = 20;
const JSON_NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/** Whoever copies `__proto__` by assignment changes a prototype; `<<` merges in YAML 1.1 but not in 1.2. */
const RESERVED_KEYS: Readonly<Record<string, string>> = Object.freeze(
  Object.assign(Object.create(null), {
    ["__proto__"]: "is reserved",
    "<<": "would merge in older YAML; write the entries out",
  }),
);

/** Thrown within this file only, to leave a document that cannot be read any further. */
class Stop extends Error {}

/**
 * The one document in `text`; null if it is empty. `source` names the text in messages (a path, or `-`).
 * Throws INVALID_ARGUMENT `YAML_INVALID` with violations at `source:line:column`.
 */
export function parseYaml(text: string, source: string): PlainValue {
  const documents = parseYamlDocuments(text, source);
  const second = documents[1];
  if (second === undefined) return documents[0]?.value ?? null;
  throw invalid("YAML_INVALID", [
    {
      path: `${source}:${second.line}:1`,
      message: `a second document begins here; got ${documents.length} documents; allowed: one`,
    },
  ]);
}

/** All documents of a manifest, empty ones left out. Throws as `parseYaml` does. */
export function parseYamlDocuments(text: string, source: string): readonly YamlDocument[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > YAML_BYTES_MAX) {
    const message = `the text has ${bytes} bytes; allowed: at most ${YAML_BYTES_MAX} (1 MiB)`;
    throw invalid("YAML_INVALID", [{ path: source, message }]);
  }
  const lines = new LineCounter();
  const reader = new Reader(source, lines);
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  reader.checkTokens(tokens);
  const read = reader.hasProblems ? [] : reader.readAll(compose(tokens, text));
  reader.finish();
  return read;
}

function compose(tokens: readonly CST.Token[], text: string): Iterable<Document.Parsed> {
  // Duplicate keys are looked for in Reader: the library compares every pair, quadratic in a map's size.
  const options = { version: "1.2", schema: "core", stringKeys: true, uniqueKeys: false } as const;
  return new Composer({ ...options, merge: false, resolveKnownTags: false }).compose(
    tokens,
    false,
    text.length,
  );
}

type Anchored = Readonly<{ value: PlainValue; values: number; height: number }>;

/** Turns composed documents into plain values and gathers what is wrong with them. */
class Reader {
  readonly #source: string;
  readonly #lines: LineCounter;
  readonly #problems: Violation[] = [];
  #anchors = new Map<string, Anchored>();
  #aliases = 0;
  #values = 0;

  constructor(source: string, lines: LineCounter) {
    this.#source = source;
    this.#lines = lines;
  }

  get hasProblems(): boolean {
    return this.#problems.length > 0;
  }

  finish(): void {
    if (this.hasProblems) throw invalid("YAML_INVALID", this.#problems);
  }

  /** Nesting is judged on the flat syntax tree, since composing recurses. */
  checkTokens(tokens: readonly CST.Token[]): void {
    const open = tokens.map((token) => ({ token, depth: 0 }));
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const { token, depth } = at;
      if (token.type === "directive") {
        this.#problem(token.offset, "directives are not allowed; remove this line");
      }
      if (depth > YAML_DEPTH_MAX) {
        this.#problem(token.offset, `nested too deeply; allowed: ${YAML_DEPTH_MAX} levels`);
        return;
      }
      if (token.type === "document" && token.value) open.push({ token: token.value, depth });
      if (!("items" in token)) continue;
      for (const { key, value } of token.items) {
        if (key) open.push({ token: key, depth: depth + 1 });
        if (value) open.push({ token: value, depth: depth + 1 });
      }
    }
  }

  readAll(documents: Iterable<Document.Parsed>): readonly YamlDocument[] {
    const read: YamlDocument[] = [];
    for (const document of documents) {
      for (const error of document.errors) this.#problem(error.pos[0], firstLine(error.message));
      if (this.hasProblems) continue;
      if (read.length >= YAML_DOCUMENTS_MAX) {
        this.#problem(document.range[0], `allowed: at most ${YAML_DOCUMENTS_MAX} documents`);
        break;
      }
      const one = this.#document(document);
      if (one !== undefined && one.value !== null) read.push(one);
    }
    return read;
  }

  #document(document: Document.Parsed): YamlDocument | undefined {
    this.#anchors = new Map();
    this.#aliases = 0;
    const root = document.contents;
    try {
      const value = root === null ? null : this.#value(root, 0).value;
      const line = this.#lines.linePos(root?.range[0] ?? document.range[0]).line;
      return { value, line };
    } catch (error) {
      if (error instanceof Stop) return undefined;
      throw error;
    }
  }

  #value(node: Node, depth: number): Anchored {
    const offset = node.range?.[0] ?? 0;
    if (depth > YAML_DEPTH_MAX) this.#stop(offset, `nested too deeply; allowed: ${YAML_DEPTH_MAX}`);
    if (isAlias(node)) return this.#alias(node.source, offset, depth);
    if (node.tag !== undefined) {
      this.#problem(offset, `tags are not allowed; got ${shown(node.tag)}; remove it`);
    }
    const before = this.#values;
    this.#count(1, offset);
    const { value, height } = this.#content(node, depth, offset);
    const anchored = { value, height, values: this.#values - before };
    if ("anchor" in node && node.anchor !== undefined) this.#anchors.set(node.anchor, anchored);
    return anchored;
  }

  #content(node: Node, depth: number, offset: number): { value: PlainValue; height: number } {
    if (isScalar(node)) return { value: this.#scalar(node, offset), height: 0 };
    if (isSeq<Node>(node)) {
      const items = node.items.map((item) => this.#value(item, depth + 1));
      return { value: items.map(({ value }) => value), height: 1 + highest(items) };
    }
    if (!isMap<Node, Node | null>(node)) this.#stop(offset, "neither value, list nor map");
    const map: Record<string, PlainValue> = {};
    const values: Anchored[] = [];
    for (const { key, value } of node.items) {
      const name = this.#key(key, map);
      const read = value === null ? undefined : this.#value(value, depth + 1);
      if (read !== undefined) values.push(read);
      if (name !== undefined) map[name] = read?.value ?? null;
    }
    return { value: map, height: 1 + highest(values) };
  }

  #key(key: Node, map: Readonly<Record<string, PlainValue>>): string | undefined {
    const offset = key.range?.[0] ?? 0;
    if (!isScalar(key) || typeof key.value !== "string") {
      this.#problem(offset, "keys must be text");
      return undefined;
    }
    const name = key.value;
    const wrong = RESERVED_KEYS[name] ?? (Object.hasOwn(map, name) ? "is there twice" : undefined);
    if (wrong !== undefined) this.#problem(offset, `the key ${shown(name)} ${wrong}`);
    return wrong === undefined ? name : undefined;
  }

  #alias(name: string, offset: number, depth: number): Anchored {
    this.#aliases += 1;
    if (this.#aliases > YAML_ALIASES_MAX) {
      this.#stop(offset, `aliases are limited to ${YAML_ALIASES_MAX}`);
    }
    const found = this.#anchors.get(name);
    if (found === undefined)
      this.#stop(offset, `the alias *${shown(name)} names no complete anchor`);
    if (depth + found.height > YAML_DEPTH_MAX) {
      this.#stop(offset, `nested too deeply; allowed: ${YAML_DEPTH_MAX} levels`);
    }
    this.#count(found.values, offset);
    return found;
  }

  #scalar(node: Scalar, offset: number): PlainValue {
    const { value, source = "" } = node;
    if (typeof value === "number") return this.#number(value, source, offset);
    if (typeof value === "string" && !value.isWellFormed()) {
      this.#problem(offset, "the text has half of a surrogate pair; write whole characters");
    }
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    return this.#stop(offset, `not a plain value: ${shown(source)}`);
  }

  #number(value: number, source: string, offset: number): number {
    const isExact = !Number.isInteger(value) || Number.isSafeInteger(value);
    if (JSON_NUMBER.test(source) && Number.isFinite(value) && isExact) return value;
    const rule = JSON_NUMBER.test(source)
      ? `too large for a number; quote it: "${shown(source)}"`
      : `ambiguous number; write it in decimal (8, -1, 0.5, 1e3) or quote it: "${shown(source)}"`;
    this.#problem(offset, `got ${shown(source)}; ${rule}`);
    return 0;
  }

  #count(values: number, offset: number): void {
    this.#values += values;
    if (this.#values > YAML_VALUES_MAX) {
      const rule = `aliases are limited to ${YAML_ALIASES_MAX}, and to ${YAML_VALUES_MAX} values`;
      this.#stop(offset, `too many values; ${rule} in all once expanded`);
    }
  }

  #problem(offset: number, message: string): void {
    if (this.#problems.length >= PROBLEMS_MAX) return;
    const { line, col } = this.#lines.linePos(offset);
    this.#problems.push({ path: `${this.#source}:${line}:${col}`, message });
  }

  #stop(offset: number, message: string): never {
    this.#problem(offset, message);
    throw new Stop();
  }
}

function highest(children: readonly Anchored[]): number {
  return children.reduce((most, { height }) => Math.max(most, height), 0);
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? text;
}
