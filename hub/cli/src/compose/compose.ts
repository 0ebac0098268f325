/**
 * Makes a blueprint's draft of a Compose file: each service becomes a container resource. Pure but for the lines it
 * tells. What cannot be carried over is refused by its name, its line and the reason, never left out.
 */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import { invalid } from "@holdfast/shared/fault.ts";
import { parseYaml } from "@holdfast/shared/yaml.ts";
import { ComposeNotes } from "./notes.ts";
import { readService } from "./service.ts";

export type ComposeImport = Readonly<{
  text: string;
  /** Of the text, in messages. */
  source: string;
  product: string;
  version: string;
  /** Service to the image archive that it runs, relative to the blueprint. */
  archives: ReadonlyMap<string, string>;
}>;

export type Imported = Readonly<{
  document: Readonly<Record<string, unknown>>;
  /** What is carried over and differs all the same. */
  differing: readonly string[];
}>;

/** Where everything of a kind is refused. */
const TOP_LEVEL: Readonly<Record<string, string>> = {
  configs: "files of a release are artefacts; mount them as resources of kind file",
  include: "write the services of the other file into this one",
  models: "not known to Holdfast",
};
const VIOLATIONS_MAX = 20;

/** Throws INVALID_ARGUMENT `YAML_INVALID` or `COMPOSE_UNSUPPORTED` with at most 20 places. */
export function importCompose(given: ComposeImport): Imported {
  const { text, source, product, version, archives } = given;
  const compose = parseYaml(text, source);
  const notes = new ComposeNotes(text, source);
  const top = isPlainObject(compose) ? compose : {};
  const services = isPlainObject(top["services"]) ? top["services"] : {};
  if (Object.keys(services).length === 0) notes.refuse(["services"], "required: at least one");
  refuseTopLevel(top, notes);
  const secrets = new Set<string>();
  const volumes = namesOf(top["volumes"]);
  const resources = Object.entries(services).map(([name, service]) =>
    readService(name, service, { notes, archives, secrets, volumes }),
  );
  for (const service of archives.keys()) {
    if (!Object.hasOwn(services, service)) {
      notes.refuse(["services", service], "--archive names a service that is not there");
    }
  }
  for (const secret of secrets) {
    if (namesOf(top["secrets"]).has(secret)) continue;
    notes.refuse(["secrets", secret], "a service names a secret that is not declared");
  }
  if (notes.refused.length > 0) {
    throw invalid("COMPOSE_UNSUPPORTED", notes.refused.slice(0, VIOLATIONS_MAX));
  }
  const artefacts = [...archives].map(([name, path]) => ({ name, path }));
  const document = {
    ...{ apiVersion: "holdfast/v1", kind: "Blueprint", product, version, number: 1 },
    ...(artefacts.length > 0 && { artefacts }),
    ...(secrets.size > 0 && { secrets: [...secrets].map((name) => ({ name })) }),
    resources,
  };
  return { document, differing: notes.differing };
}

function namesOf(part: unknown): ReadonlySet<string> {
  return new Set(isPlainObject(part) ? Object.keys(part) : []);
}

function refuseTopLevel(top: Readonly<Record<string, unknown>>, notes: ComposeNotes): void {
  for (const key of Object.keys(top)) {
    // Compose itself looks at neither.
    if (key.startsWith("x-") || ["services", "name", "version"].includes(key)) continue;
    if (key === "secrets" || key === "volumes" || key === "networks") {
      refuseParts(key, top[key], notes);
    } else notes.refuse([key], TOP_LEVEL[key] ?? "not carried over");
  }
}

function refuseParts(key: string, part: unknown, notes: ComposeNotes): void {
  for (const [name, value] of Object.entries(isPlainObject(part) ? part : {})) {
    const fields = Object.keys(isPlainObject(value) ? value : {});
    if (key === "networks") {
      if (name !== "default" || fields.length > 0) {
        notes.refuse([key, name], "an instance has one private network of its own");
      }
    } else if (key === "volumes") {
      for (const field of fields) {
        notes.refuse([key, name, field], "volumes are of the instance and on its host's disk");
      }
    } else {
      notes.differs([key, name], `its value is set with: holdfast secret set, for ${name}`);
    }
  }
}
