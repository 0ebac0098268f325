/** Tells "the same" from "changed": one digest for a rendered resource and the artefacts it runs. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { type Digest, digestOf } from "../digest.ts";
import type { Rendered } from "./render.ts";

export type RenderedResource = Readonly<{
  kind: string;
  /** At assignment, secrets as holes: a digest of a short secret would give it away. */
  rendered: Rendered<JsonObject>;
  /** Of those the resource uses: name to `sha256:…`. */
  artefacts: Readonly<Record<string, string>>;
  /** Versions of the secrets it uses, so that a new one is a change. */
  secretVersions?: Readonly<Record<string, string>>;
}>;

/** Depends on nothing but the content: not on the order of fields, not on the generation. */
export function renderedDigest(resource: RenderedResource): Digest {
  const { kind, rendered, artefacts, secretVersions = {} } = resource;
  const { spec, holes } = rendered;
  const content = { v: 1, kind, spec, holes, artefacts, secretVersions } as unknown as JsonValue;
  return digestOf(Buffer.from(canonicalJson(content)));
}

/** JSON without white space, the fields of each map in the order of their UTF-16 code units. */
export function canonicalJson(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, child]) => `${JSON.stringify(key)}:${canonicalJson(child)}`);
  return `{${entries.join(",")}}`;
}
