/**
 * Manifests as people write them: YAML or JSON documents with apiVersion, kind, metadata and spec. Reads files
 * and standard input, and gives objects in the order in which their references resolve. Refuses what the API
 * would not understand with its file, line and path, all problems at once.
 */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type { JsonObject } from "@bufbuild/protobuf";
import { Fault, invalid, type Violation } from "@holdfast/shared/fault.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown, suggestion } from "@holdfast/shared/text.ts";
import { type PlainValue, parseYamlDocuments, YAML_BYTES_MAX } from "@holdfast/shared/yaml.ts";
import { at } from "./format.ts";
import { KINDS, type Kind } from "./kinds.ts";
import { fitToSchema } from "./manifest-shape.ts";
import type { ObjectView } from "./object-calls.ts";
import { API_VERSION } from "./output.ts";
import type { Terminal } from "./terminal.ts";

export type Manifest = Readonly<{
  kind: Kind;
  name: string;
  tenant: string | undefined;
  /** metadata and spec as proto JSON. */
  object: ObjectView;
  /** `file:line`. */
  source: string;
}>;

export const MANIFESTS_MAX = 1_000;
const APPLICABLE = KINDS.filter(({ verbs }) => verbs.includes("update"));
/** What the hub sets itself; a manifest that was got from it may carry them. */
const METADATA_OF_HUB = [
  "id",
  "generation",
  "createTime",
  "updateTime",
  "deleteTime",
  "finalizers",
];

/** `path` is a file, or `-` for standard input. Throws INVALID_ARGUMENT `FILE_UNREADABLE` or `FILE_TOO_LARGE`. */
export async function readText(path: string, terminal: Terminal): Promise<string> {
  if (path === "-") return await terminal.readStdin(YAML_BYTES_MAX);
  const absolute = resolve(terminal.workingDirectory, path);
  let file: Awaited<ReturnType<typeof open>> | undefined;
  try {
    file = await open(absolute);
    const { size } = await file.stat();
    if (size <= YAML_BYTES_MAX) return await file.readFile("utf8");
  } catch (error) {
    throw unreadable("file", path, error);
  } finally {
    await file?.close();
  }
  const message = `file ${shown(path)} is larger than ${YAML_BYTES_MAX} bytes (1 MiB)`;
  throw new Fault("INVALID_ARGUMENT", "FILE_TOO_LARGE", message);
}

/**
 * All manifests of the files, references first. `tenant` is taken where a manifest of a tenant's kind names none
 * and its kind belongs to tenants only. Throws INVALID_ARGUMENT `MANIFEST_INVALID`.
 */
export async function readManifests(
  paths: readonly string[],
  terminal: Terminal,
): Promise<readonly Manifest[]> {
  const found: Violation[] = [];
  const manifests: Manifest[] = [];
  for (const path of paths) {
    const source = path === "-" ? "stdin" : path;
    for (const { value, line } of parseYamlDocuments(await readText(path, terminal), source)) {
      const manifest = await manifestOf(value, `${source}:${line}`, found);
      if (manifest !== undefined) manifests.push(manifest);
    }
  }
  if (found.length > 0) throw invalid("MANIFEST_INVALID", found);
  if (manifests.length === 0) {
    const message = `no document in ${paths.map(shown).join(", ")}`;
    throw new Fault("INVALID_ARGUMENT", "MANIFEST_EMPTY", message);
  }
  if (manifests.length > MANIFESTS_MAX) {
    const message = `${manifests.length} documents are too many; allowed: ${MANIFESTS_MAX}`;
    throw new Fault("INVALID_ARGUMENT", "MANIFEST_TOO_LARGE", message);
  }
  return inOrder(manifests);
}

async function manifestOf(
  value: PlainValue,
  source: string,
  found: Violation[],
): Promise<Manifest | undefined> {
  const wrong = (path: string, message: string) => {
    found.push({ path: `${source}: ${path}`, message });
    return undefined;
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return wrong(
      "document",
      `got ${shown(value)}; allowed: a map with apiVersion, kind, metadata, spec`,
    );
  }
  const document = value as JsonObject;
  if (document["apiVersion"] !== API_VERSION) {
    return wrong(
      "apiVersion",
      `got ${shown(document["apiVersion"] ?? null)}; allowed: ${API_VERSION}`,
    );
  }
  const kind = kindOfManifest(document["kind"], wrong);
  if (kind === undefined) return undefined;
  const { apiVersion, kind: title, status, ...rest } = document;
  const { schema } = await kind.load();
  const before = found.length;
  const object = fitToSchema(schema, rest, (path, message) => wrong(path, message));
  const name = at(object, "metadata.name");
  if (found.length > before) return undefined;
  if (typeof name !== "string" || name === "") return wrong("metadata.name", "required");
  const tenant = at(object, "metadata.tenant");
  const metadata = Object.entries(at(object, "metadata") as JsonObject);
  const kept = metadata.filter(([key]) => !METADATA_OF_HUB.includes(key));
  return {
    kind,
    name,
    tenant: typeof tenant === "string" && tenant !== "" ? tenant : undefined,
    object: { ...object, metadata: Object.fromEntries(kept) },
    source,
  };
}

function kindOfManifest(
  title: unknown,
  wrong: (path: string, message: string) => undefined,
): Kind | undefined {
  if (title === "Blueprint") {
    return wrong("kind", "a Blueprint is published: holdfast release publish -f FILE --key KEY");
  }
  const kind = APPLICABLE.find((each) => each.title === title);
  if (kind !== undefined) return kind;
  const titles = APPLICABLE.map((each) => each.title);
  const near = suggestion(String(title), titles);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  return wrong("kind", `got ${shown(title ?? null)}; allowed: ${titles.join(", ")}${hint}`);
}

/** A dedicated instance names its subscription; a pooled one is named by subscriptions. */
function inOrder(manifests: readonly Manifest[]): readonly Manifest[] {
  const rank = ({ kind, object }: Manifest) => {
    const place = KINDS.indexOf(kind);
    const isPooled = kind.name === "instance" && !at(object, "spec.subscription");
    const subscription = KINDS.findIndex(({ name }) => name === "subscription");
    return isPooled ? subscription - 0.5 : place;
  };
  return [...manifests].sort((a, b) => rank(a) - rank(b));
}
