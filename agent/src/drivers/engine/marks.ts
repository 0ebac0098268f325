/**
 * How a container says whose it is: labels, by which every look finds it again, and names that follow from them. What
 * lacks a label or has one of another form was not made by an agent and is left alone.
 */
import { createHash } from "node:crypto";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { ResourceKey, Wanted } from "../driver.ts";
import { isHandle, isInstanceId } from "../names.ts";

const PREFIX = "io.holdfast.";
export const LABEL = {
  state: `${PREFIX}state`,
  instance: `${PREFIX}instance`,
  resource: `${PREFIX}resource`,
  digest: `${PREFIX}digest`,
  generation: `${PREFIX}generation`,
  copy: `${PREFIX}copy`,
  restarts: `${PREFIX}restarts`,
  ports: `${PREFIX}ports`,
  image: `${PREFIX}image`,
  restartPolicy: `${PREFIX}restart-policy`,
  volume: `${PREFIX}volume`,
} as const;

export type Marks = Readonly<{
  key: ResourceKey;
  handle: string;
  digest: string;
  /** `incarnation.number` */
  generation: string;
  restarts: number;
  ports: Readonly<Record<string, number>>;
  /** Name under which the agent keeps its image; empty: it was there before. */
  image: string;
  restartPolicy: string;
}>;

const DIGEST_CHARS = 12;

function short(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, DIGEST_CHARS);
}

/** Agents that share an engine never share a name. */
export function ownPrefix(stateDir: string): string {
  return `holdfast-${short(stateDir)}`;
}

export function containerName(stateDir: string, instanceId: string, handle: string): string {
  return `${instanceName(stateDir, instanceId)}-${handle}`;
}

/** Of the network of an instance. */
export function instanceName(stateDir: string, instanceId: string): string {
  return `${ownPrefix(stateDir)}-${instanceId.slice("ins_".length)}`;
}

export function volumeName(stateDir: string, instanceId: string, volume: string): string {
  return `${instanceName(stateDir, instanceId)}-${volume}`;
}

/** Who keeps an image between its containers: something of an instance, or as a beginning, all of it. */
export function imageHolder(stateDir: string, instanceId: string, handle?: string): string {
  const instance = `${short(stateDir)}-${instanceId.slice("ins_".length)}-`;
  return handle === undefined ? instance : `${instance}${short(handle)}`;
}

/** Of one copy in its instance's network, and of no other: what `outputs.host` gives out. */
export function hostName(resourceId: string, handle: string): string {
  return `${resourceId}-${short(handle)}`;
}

export function labelsOf(
  stateDir: string,
  { key, digest, generation }: Pick<Wanted, "key" | "digest" | "generation">,
  more: Pick<Marks, "handle" | "restarts" | "ports" | "image" | "restartPolicy">,
): Record<string, string> {
  const ports = Object.entries(more.ports).map(([name, port]) => `${name}=${port}`);
  return {
    [LABEL.state]: stateDir,
    [LABEL.instance]: key.instanceId,
    [LABEL.resource]: key.resourceId,
    [LABEL.digest]: digest,
    [LABEL.generation]: formatGeneration(generation),
    [LABEL.copy]: more.handle,
    [LABEL.restarts]: String(more.restarts),
    [LABEL.ports]: ports.join(","),
    [LABEL.image]: more.image,
    [LABEL.restartPolicy]: more.restartPolicy,
  };
}

/** undefined: not a container of this state directory. */
export function marksIn(
  labels: Readonly<Record<string, string>> | undefined,
  stateDir: string,
): Marks | undefined {
  const text = (name: keyof typeof LABEL) => labels?.[LABEL[name]] ?? "";
  const instanceId = text("instance");
  const handle = text("copy");
  if (text("state") !== stateDir || !isInstanceId(instanceId) || !isHandle(handle))
    return undefined;
  const [resourceId, digest, generation] = [text("resource"), text("digest"), text("generation")];
  if (resourceId === "" || digest === "" || !/^\d+\.\d+$/.test(generation)) return undefined;
  const ports = text("ports")
    .split(",")
    .flatMap((part) => {
      const [, name = "", port = ""] = /^([a-z0-9-]+)=(\d{1,5})$/.exec(part) ?? [];
      return name === "" ? [] : [[name, Number(port)] as const];
    });
  return {
    key: { instanceId, resourceId },
    ...{ handle, digest, generation },
    restarts: Number(/^\d{1,9}$/.exec(text("restarts"))?.[0] ?? 0),
    ports: Object.fromEntries(ports),
    image: text("image"),
    restartPolicy: text("restartPolicy"),
  };
}
