/**
 * How a command gets into the command line: each noun or verb has a file of its own in this folder, which says what
 * can be typed and loads what it does only when it runs. all.ts lists them.
 */
import type { Command } from "commander";
import type { ExitCode } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

/** Names of a command's words that were read, for messages. */
export type Noted = {
  command: string;
  kind?: string;
  name?: string;
  tenant?: string;
  check?: string;
  /** What the command ends with where that is neither 0 nor a failure. */
  exit?: ExitCode;
};

/** What a registration may use; nothing of it is touched before a command runs. */
export type Typed = Readonly<{
  terminal: Terminal;
  /** Shown by `holdfast version`. */
  version: string;
  /** Learns what is being attempted. */
  noted: Noted;
}>;

export type Registration = (program: Command, typed: Typed) => void;

/** Chapters of the help, in their order. */
export const CHAPTER = {
  objects: "Objects, of every kind:",
  fleet: "Instances, cells and agents:",
  offer: "Releases, plans and tenants:",
  asking: "What happened and why:",
  own: "This command line:",
} as const;

/** Nouns that only group verbs; several files may add theirs to one. */
const NOUNS: Readonly<Record<string, readonly [chapter: string, description: string]>> = {
  action: [CHAPTER.fleet, "one-off orders to agents"],
  agent: [CHAPTER.fleet, "our programs in the cells"],
  drift: [CHAPTER.fleet, "what others changed of what agents have brought up"],
  instance: [CHAPTER.fleet, "running copies of a product"],
  subscription: [CHAPTER.offer, "tenants on plans"],
  tenant: [CHAPTER.offer, "customers of the vendor"],
  cell: [CHAPTER.fleet, "cells and their agents"],
  "destroy-order": [CHAPTER.fleet, "permissions to destroy data, signed outside of the hub"],
  "kept-data": [CHAPTER.fleet, "data of instances and resources that are no more"],
  context: [CHAPTER.own, "which hub, and as whom"],
  key: [CHAPTER.offer, "the key sets that agents pin"],
  member: [CHAPTER.offer, "people and service accounts"],
  release: [CHAPTER.offer, "publish releases"],
  secret: [CHAPTER.fleet, "secrets of instances, sealed to their agents"],
};

/** The group that a verb of a noun goes to. Throws RangeError for a noun without a line above. */
export function noun(program: Command, name: string): Command {
  const found = program.commands.find((each) => each.name() === name);
  if (found !== undefined) return found;
  const [chapter, description] = NOUNS[name] ?? [];
  if (chapter === undefined || description === undefined) throw new RangeError(`noun ${name}`);
  return program.command(name).description(description).helpGroup(chapter).helpCommand(false);
}

/** Notes of what kind and which object a command is about, for the line after a failure. */
export function note({ noted }: Typed, kind: string, name?: string): void {
  noted.kind = kind;
  if (name !== undefined) noted.name = name;
}
