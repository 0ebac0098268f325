/** Which secrets the templates of a release name, and which stored or local value each name stands for. Pure. */
import type { JsonObject as MessageJson } from "@bufbuild/protobuf";
import type { SecretReference } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { ResourceTemplate } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { parseTemplate, referencesOf } from "@holdfast/shared/blueprint/expression.ts";
import { textsAt } from "@holdfast/shared/blueprint/expressions.ts";
import type { SecretUse } from "../secrets/secrets.ts";

/** Each once, by name. */
export function secretsOf(
  templates: readonly ResourceTemplate[],
  references: readonly SecretReference[],
): readonly SecretUse[] {
  const names = templates.flatMap(({ spec }) => secretsIn((spec ?? {}) as MessageJson));
  return [...new Set(names)].sort().map((name) => secretOf(references, name));
}

export function secretsIn(spec: MessageJson): readonly string[] {
  const names = [...textsAt(spec, [])].flatMap(({ text }) =>
    referenced(text).flatMap(({ root, names: [name] }) =>
      root === "secrets" && name !== undefined ? [name] : [],
    ),
  );
  return [...new Set(names)].sort();
}

export function referenced(text: string) {
  const template = parseTemplate(text);
  return "problem" in template ? [] : referencesOf(template);
}

/** The assignment says which sealed or local secret is meant; without it the local one of that name is. */
export function secretOf(references: readonly SecretReference[], name: string): SecretUse {
  const reference = references.find((each) => each.name === name);
  if (reference === undefined || reference.sealedDigest === "") {
    return { name, localName: reference?.localName || name };
  }
  const { version, sealedDigest: digest, agentId } = reference;
  return { name, localName: name, sealed: { version: version.toString(), digest, agentId } };
}
