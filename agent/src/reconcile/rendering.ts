/**
 * Renders the resources of a target with what is known: parameters and facts always, outputs of other resources
 * once those run. Secrets stay expressions: drivers get their values apart from the spec. Pure but for the
 * secret values, which are read when a step runs and never kept.
 */
import type { JsonObject as MessageJson } from "@bufbuild/protobuf";
import type { ResourceTemplate } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { kindRules } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import { type Hole, type Known, render } from "@holdfast/shared/blueprint/render.ts";
import { renderedDigest } from "@holdfast/shared/blueprint/rendered-digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { JsonObject, Wanted } from "../drivers/driver.ts";
import type { Secrets, SecretUse } from "../secrets/secrets.ts";
import type { Rendering } from "../store/attempts.ts";
import { referenced, secretOf, secretsIn } from "./secret-uses.ts";
import type { Target } from "./target.ts";

/** Outputs of the copies that serve or are to serve, by resource id. */
export type Outputs = ReadonlyMap<string, JsonObject>;

export type Provisional = Readonly<{
  rendering: Rendering;
  /** What waits for outputs of other resources; empty: the rendering is final. */
  open: readonly Hole[];
}>;

/** Throws INVALID_ARGUMENT `EXPRESSION_INVALID`. */
export function renderResource(
  target: Target,
  template: ResourceTemplate,
  outputs: Outputs,
): Provisional {
  const spec = (template.spec ?? {}) as MessageJson;
  const rendered = render(spec, knownOf(target, outputs));
  const secrets = secretsIn(spec).map((name) => secretOf(target.secrets, name));
  const artefacts = artefactsIn(target, template.kind, spec);
  const digest = renderedDigest({
    kind: template.kind,
    rendered,
    artefacts: Object.fromEntries(artefacts.map(({ name, digest }) => [name, digest])),
    secretVersions: Object.fromEntries(secrets.map((use) => [use.name, versionOf(use)])),
  });
  return {
    open: rendered.holes.filter((hole) => isOpen(hole)),
    rendering: {
      digest,
      resourceId: template.id,
      kind: template.kind,
      generation: target.generation,
      releaseVersion: target.releaseVersion,
      spec: rendered.spec as JsonObject,
      secretTexts: rendered.holes.filter((hole) => !isOpen(hole)).map(({ path }) => path),
      artefacts: Object.fromEntries(
        artefacts.map(({ name, digest, mediaType }) => [name, { digest, mediaType }]),
      ),
      secrets: Object.fromEntries(
        secrets.flatMap(({ name, localName, sealed }) => (sealed ? [] : [[name, localName]])),
      ),
      sealed: Object.fromEntries(
        secrets.flatMap(({ name, sealed }) => (sealed ? [[name, sealed]] : [])),
      ),
    },
  };
}

/** The published outputs of an instance whose resources all run. */
export function renderOutputs(target: Target, outputs: Outputs): JsonObject {
  const templates = target.isRunning ? (target.blueprint?.outputs ?? {}) : {};
  const rendered = render({ ...templates } as MessageJson, knownOf(target, outputs));
  if (rendered.holes.length === 0) return rendered.spec as JsonObject;
  const names = rendered.holes.map(({ text }) => text).join(", ");
  throw new Fault("FAILED_PRECONDITION", "OUTPUT_MISSING", `outputs: ${names} is not known`);
}

/** With the secrets' values. Throws as Secrets.read does. */
export async function wantedOf(
  rendering: Rendering,
  instanceId: string,
  pathOf: (digest: string) => string,
  secrets: Pick<Secrets, "read">,
): Promise<Wanted> {
  const uses: readonly SecretUse[] = [
    ...Object.entries(rendering.secrets).map(([name, localName]) => ({ name, localName })),
    ...Object.entries(rendering.sealed).map(([name, sealed]) => {
      return { name, localName: name, sealed };
    }),
  ];
  const values = new Map<string, string>();
  for (const use of uses) values.set(use.name, await secrets.read(instanceId, use));
  return { ...plannedOf(rendering, instanceId, pathOf), secrets: values };
}

/** Without the secrets' values: enough to plan with. */
export function plannedOf(
  rendering: Rendering,
  instanceId: string,
  pathOf: (digest: string) => string,
): Wanted {
  const { digest, resourceId, kind, generation, releaseVersion, spec, artefacts } = rendering;
  const { secretTexts } = rendering;
  const paths = Object.entries(artefacts).map(([name, artefact]) => {
    return [name, pathOf(artefact.digest)] as const;
  });
  const key = { instanceId, resourceId };
  const secrets = new Map<string, string>();
  return {
    key,
    kind,
    generation,
    releaseVersion,
    digest,
    spec,
    secretTexts,
    secrets,
    artefacts: new Map(paths),
  };
}

function knownOf(target: Target, outputs: Outputs): Known {
  const resources = [...outputs].map(([id, values]) => [id, { outputs: values as MessageJson }]);
  return {
    params: target.parameters as MessageJson,
    facts: target.facts as MessageJson,
    instances: target.given as Known["instances"],
    resources: Object.fromEntries(resources) as Known["resources"],
  };
}

function isOpen({ text }: Hole): boolean {
  return referenced(text).some(({ root }) => root !== "secrets");
}

/** A change of it is a change of the resource. A local one has no version: its file may change at any time. */
function versionOf({ localName, sealed }: SecretUse): string {
  return sealed === undefined ? `0/${localName}` : `${sealed.version}/${sealed.digest}`;
}

/** Those that the kind says it takes. */
function artefactsIn(target: Target, kind: string, spec: MessageJson) {
  const named = kindRules(kind)?.artefactsOf(spec) ?? [];
  return named.flatMap((name) => target.artefacts.get(name) ?? []);
}
