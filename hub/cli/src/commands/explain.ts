/**
 * `holdfast explain KIND[.field…]` and `holdfast explain error REASON`: what the contract says of a field, and what a
 * refusal means. Asks no hub.
 */
import contract from "@holdfast/proto/contract.json" with { type: "json" };
import { Fault } from "@holdfast/shared/fault.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";
import { type Kind, kindOf } from "../kinds.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import reasons from "../reasons.json" with { type: "json" };
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

type Field = Readonly<{ name: string; type: string; doc?: string; rules?: readonly string[] }>;
type Messages = Readonly<Record<string, Readonly<{ doc?: string; fields: readonly Field[] }>>>;
type Words = Readonly<Record<string, readonly Readonly<{ word: string; doc?: string }>[]>>;

const MESSAGES: Messages = contract.messages;
const ENUMS: Words = contract.enums;
/** `list of X` and `map of text to X` are told by what X is. */
const WRAPPED = /^(?:list of |map of text to )/;

type Options = Readonly<{ output?: OutputForm }>;

export async function explain(
  terminal: Terminal,
  what: string,
  reason: string | undefined,
  { output = "table" }: Options,
): Promise<void> {
  if (what === "error") await explainError(terminal, reason, output);
  else if (reason === undefined) await explainField(terminal, what, output);
  else throw usage(`explain ${what}: got ${shown(reason)} as well; allowed: KIND[.FIELD]`);
}

async function explainField(terminal: Terminal, path: string, form: OutputForm): Promise<void> {
  const [word = "", ...names] = path.split(".");
  const kind = kindOf(word);
  const field = fieldAt(kind, names);
  const place = [kind.name, ...names].join(".");
  const inner = field.type.replace(WRAPPED, "");
  const view = {
    path: place,
    type: typeWord(field.type),
    doc: field.doc ?? "",
    rules: [...(field.rules ?? [])],
    fields: [...(MESSAGES[inner]?.fields ?? [])].map((each) => {
      return { ...each, type: typeWord(each.type), rules: [...(each.rules ?? [])] };
    }),
    words: [...(ENUMS[inner] ?? [])],
  };
  if (form === "json") terminal.out(jsonText(view));
  else if (form === "yaml") terminal.out(await yamlText(view));
  else if (form === "name") terminal.out(view.fields.map(({ name }) => `${name}\n`).join(""));
  else terminal.out(fieldText(terminal, view));
}

type FieldView = Readonly<{
  path: string;
  type: string;
  doc: string;
  rules: readonly string[];
  fields: readonly Field[];
  words: readonly Readonly<{ word: string; doc?: string }>[];
}>;

function fieldText(terminal: Terminal, { path, type, doc, rules, fields, words }: FieldView) {
  const lines = [`${path}   ${type}\n`];
  if (doc !== "") lines.push(`  ${doc}\n`);
  if (rules.length > 0) lines.push(`  rules: ${rules.join("; ")}\n`);
  if (words.length > 0) {
    const rows = words.map((each) => [each.word, each.doc ?? ""]);
    lines.push("\n", tableText(terminal, ["WORD", "MEANING"], rows));
  }
  if (fields.length > 0) {
    const rows = fields.map((each) => {
      return [each.name, each.type, (each.rules ?? []).join("; "), each.doc ?? ""];
    });
    lines.push("\n", tableText(terminal, ["FIELD", "TYPE", "RULES", "MEANING"], rows));
  }
  return lines.join("");
}

/** Throws INVALID_ARGUMENT `USAGE` with the fields that there are. */
function fieldAt(kind: Kind, names: readonly string[]): Field {
  let field: Field = { name: kind.name, type: `holdfast.api.v1.${kind.title}` };
  let path = kind.name;
  for (const name of names) {
    const fields = MESSAGES[field.type.replace(WRAPPED, "")]?.fields ?? [];
    const known = fields.map((each) => each.name);
    const found = fields.find((each) => each.name === name || snake(each.name) === name);
    if (found === undefined) {
      const near = suggestion(name, known);
      const hint = near === undefined ? `known: ${known.join(", ")}` : `did you mean ${near}?`;
      throw usage(
        known.length === 0
          ? `${path} is ${typeWord(field.type)} and has no fields`
          : `${path} has no field ${shown(name)}; ${hint}`,
        `holdfast explain ${path}`,
      );
    }
    field = found;
    path = `${path}.${name}`;
  }
  return field;
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Names of messages are the programs' own; people see that it has fields. */
function typeWord(type: string): string {
  return type
    .replace(
      /holdfast\.\S+/,
      (name) => ENUMS[name]?.map(({ word }) => word).join(" | ") ?? "object",
    )
    .replace(/^list of object$/, "list of objects");
}

async function explainError(
  terminal: Terminal,
  reason: string | undefined,
  form: OutputForm,
): Promise<void> {
  const all: Readonly<Record<string, Readonly<{ cause: string; next: string }>>> = reasons;
  const names = Object.keys(all);
  if (reason === undefined) {
    if (form === "json") terminal.out(jsonText(all));
    else if (form === "yaml") terminal.out(await yamlText(all));
    else if (form === "name") terminal.out(names.map((name) => `${name}\n`).join(""));
    else {
      const rows = names.map((name) => [name, all[name]?.cause ?? ""]);
      terminal.out(tableText(terminal, ["REASON", "WHAT IT MEANS"], rows));
    }
    return;
  }
  const name = reason.toUpperCase();
  const found = all[name];
  if (found === undefined) {
    const near = suggestion(name, names);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    const next = near === undefined ? "holdfast explain error" : `holdfast explain error ${near}`;
    throw new Fault("NOT_FOUND", "NOT_FOUND", `no reason ${shown(reason)}${hint}`, { next });
  }
  if (form === "json") terminal.out(jsonText({ reason: name, ...found }));
  else if (form === "yaml") terminal.out(await yamlText({ reason: name, ...found }));
  else if (form === "name") terminal.out(`${name}\n`);
  else terminal.out(`${name}\n  ${found.cause}\nnext: ${found.next}\n`);
}

function usage(message: string, next = "holdfast explain --help"): Fault {
  return new Fault("INVALID_ARGUMENT", "USAGE", message, { next });
}
