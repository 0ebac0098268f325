/** Secrets of an instance as rows of a table: where each comes from, never a value. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Secret, SecretSource } from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { agoText } from "./format.ts";
import type { Cell } from "./table.ts";

export const SECRET_HEADER = ["NAME", "VERSION", "SOURCE", "SET", "BY", "DESCRIPTION"];

export function secretRows(secrets: readonly Secret[], now: number): readonly (readonly Cell[])[] {
  return secrets.map((secret) => {
    const { name, version, setTime, setBy, description } = secret;
    const set = setTime === undefined ? "-" : agoText(timestampDate(setTime).toISOString(), now);
    return [
      name,
      version === 0n ? "-" : version.toString(),
      sourceOf(secret),
      set,
      setBy || "-",
      description,
    ];
  });
}

function sourceOf({ source, agent, needsReentry, localName, name }: Secret): Cell {
  if (needsReentry) {
    return { text: `set it again: sealed to ${agent || "an agent that left"}`, tone: "bad" };
  }
  if (source === SecretSource.SEALED) return `sealed to ${agent}`;
  if (source === SecretSource.LOCAL) return `file ${localName} on the agent's host`;
  return { text: `not set, unless the agent's host has a file ${name}`, tone: "unsure" };
}
