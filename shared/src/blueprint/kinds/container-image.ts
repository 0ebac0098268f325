/**
 * Which image a container runs: an image archive that the release carries, or an image of a registry by its digest.
 * A tag can mean another image tomorrow, so it is refused.
 */
import type { Shape } from "../shape.ts";
import { secretNamed } from "./workload.ts";

export type ImageSource =
  | Readonly<{ artefact: string }>
  | Readonly<{
      /** `registry/repository@sha256:…` */
      reference: string;
      /** Name of the declared secret whose value is `user:password`. */
      credentials?: string;
    }>;

const ARTEFACT = { pattern: /^[a-z][a-z0-9-]{0,39}$/, allowed: "the name of an artefact" };
const REFERENCE =
  /^(?=.{1,400}$)(?:[a-z0-9]+(?:[.-][a-z0-9]+)*)(?:\.[a-z0-9-]+|:\d{1,5})(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/;
const REFERENCE_RULE =
  "registry/repository@sha256: and 64 lower-case hex digits, with the registry's name and no tag";
const IMAGE_RULE = "one of artefact: NAME, reference: registry/repository@sha256:…";

export function readImage(parent: Shape): ImageSource {
  const given = parent.raw("image");
  const shape = parent.object("image");
  if (shape === undefined || typeof given === "string") {
    parent.add("image", "needs a digest", given ?? "", IMAGE_RULE);
    return { artefact: "" };
  }
  const read = readSource(parent, shape);
  shape.finish();
  return read;
}

function readSource(parent: Shape, shape: Shape): ImageSource {
  if (shape.has("artefact") === shape.has("reference")) {
    const what = shape.has("artefact") ? "two sources" : "no source";
    parent.add("image", what, "", IMAGE_RULE);
  }
  const credentials = readCredentials(shape);
  const artefact = shape.text("artefact", ARTEFACT);
  if (artefact !== undefined) return { artefact };
  const reference = shape.raw("reference");
  if (reference === undefined) return { artefact: "" };
  if (typeof reference !== "string" || !REFERENCE.test(reference)) {
    const isTag = typeof reference === "string" && !reference.includes("@sha256:");
    shape.add(
      "reference",
      isTag ? "digest required" : "not of this form",
      reference,
      REFERENCE_RULE,
    );
    return { artefact: "" };
  }
  return { reference, ...(credentials !== undefined && { credentials }) };
}

function readCredentials(shape: Shape): string | undefined {
  const given = shape.raw("credentials");
  if (given === undefined) return undefined;
  const secret = secretNamed(given);
  if (secret === undefined) {
    const rule = `\${secrets.NAME} and nothing else; its value is user:password`;
    shape.add("credentials", "not a reference to a secret", "", rule);
  } else if (!shape.has("reference")) {
    shape.add("credentials", "of no registry", "", "only together with reference");
  }
  return secret;
}
