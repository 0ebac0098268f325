/** One service of a Compose file as a container resource. */
import { isPlainObject } from "@holdfast/shared/blueprint/shape.ts";
import { readHealthCheck } from "./health.ts";
import { readMounts } from "./mounts.ts";
import { type Part, type ServiceContext, textOf } from "./part.ts";
import { readPorts } from "./ports.ts";
import { readResources } from "./resources.ts";
import { durationMs, imageReference } from "./values.ts";

const PROFILE = "every container runs in the restricted profile";
/** Why a field is not carried over, where there is more to say than that. */
const REASONS: Readonly<Record<string, string>> = {
  build: "a release carries built images: docker save, then --archive SERVICE=FILE",
  cap_add: PROFILE,
  container_name: "names are given by the agent; others find it by its service's name",
  devices: PROFILE,
  env_file: "write the variables into environment, or make parameters of them",
  extends: "write the service out",
  ipc: PROFILE,
  network_mode: PROFILE,
  networks: "an instance has one private network of its own",
  pid: PROFILE,
  privileged: PROFILE,
  profiles: "a release has all of its resources",
  scale: "a resource is one container",
  security_opt: PROFILE,
  userns_mode: PROFILE,
};
const CARRIED = [
  ...["image", "entrypoint", "command", "environment", "ports", "expose", "volumes", "tmpfs"],
  ...["depends_on", "healthcheck", "deploy", "mem_limit", "mem_reservation", "cpus", "pids_limit"],
  ...["restart", "stop_signal", "stop_grace_period", "user", "read_only", "secrets", "cap_drop"],
];
const RESTARTS = new Map([
  ["always", "always"],
  ["unless-stopped", "always"],
  ["on-failure", "on-failure"],
]);

export function readService(name: string, value: unknown, context: ServiceContext) {
  const service = isPlainObject(value) ? value : {};
  const part: Part = { ...context, name, service, at: ["services", name] };
  const { notes, at } = part;
  const isBuilt = context.archives.has(name);
  for (const field of Object.keys(service)) {
    if (CARRIED.includes(field) || field.startsWith("x-")) continue;
    if (field === "build" && isBuilt) continue;
    if (field === "security_opt" && isNoNewPrivileges(service[field])) continue;
    notes.refuse([...at, field], REASONS[field] ?? "not carried over");
  }
  const spec = {
    image: readImage(part),
    ...readCommand(part),
    ...readEnvironment(part),
    ...readSecrets(part),
    ...readPorts(part),
    ...readMounts(part),
    ...readHealthCheck(part),
    ...readResources(part),
    ...readUser(part),
    ...(service["read_only"] !== true && { readOnlyRoot: false }),
    ...readStop(part),
    ...readRestart(part),
  };
  const dependsOn = readDependencies(part);
  return { id: name, kind: "container", ...(dependsOn.length > 0 && { dependsOn }), spec };
}

function isNoNewPrivileges(value: unknown): boolean {
  const words = Array.isArray(value) ? value : [];
  return (
    words.length > 0 && words.every((each) => /^no-new-privileges(:true)?$/.test(String(each)))
  );
}

function readImage({ notes, at, service, archives, name }: Part) {
  if (archives.has(name)) return { artefact: name };
  const image = service["image"];
  if (typeof image !== "string") {
    notes.refuse([...at, "image"], "required: an image by digest, or --archive SERVICE=FILE");
    return {};
  }
  const reference = imageReference(image);
  if (reference !== undefined) return { reference };
  const next = `docker image inspect --format '{{index .RepoDigests 0}}' ${image}`;
  notes.refuse(
    [...at, "image"],
    `digest required, since a tag may mean another image tomorrow: ${next}`,
  );
  return {};
}

function readCommand({ notes, at, service }: Part) {
  const words = (field: string): readonly string[] | undefined => {
    const value = service[field];
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) {
      notes.refuse([...at, field], "text that a shell would split; write a list of words");
      return [];
    }
    return value.map((each, i) => textOf({ notes }, [...at, field, i], each));
  };
  const entrypoint = words("entrypoint");
  const command = words("command");
  if (entrypoint === undefined && command === undefined) return {};
  if (entrypoint === undefined) {
    notes.refuse(
      [...at, "command"],
      "what it is an argument of is in the image; write entrypoint, too",
    );
  }
  return { argv: [...(entrypoint ?? []), ...(command ?? [])] };
}

function readEnvironment({ notes, at, service }: Part) {
  const given = service["environment"];
  if (given === undefined || given === null) return {};
  const pairs = Array.isArray(given)
    ? given.map((each, i) => {
        const [, name = "", value] = /^([^=]*)(?:=([\s\S]*))?$/.exec(String(each)) ?? [];
        return [name, value, i] as const;
      })
    : Object.entries(isPlainObject(given) ? given : {}).map(
        ([name, value]) => [name, value, name] as const,
      );
  const env = pairs.map(([name, value, key]) => {
    const here = [...at, "environment", key];
    if (value === undefined || value === null) {
      notes.refuse(here, "taken from the environment; give it a value or make a parameter of it");
    }
    return [name, textOf({ notes }, here, value ?? "")] as const;
  });
  return { env: Object.fromEntries(env) };
}

function readSecrets({ notes, at, service, secrets }: Part) {
  const given = service["secrets"];
  if (given === undefined) return {};
  const files = (Array.isArray(given) ? given : []).flatMap((each, i) => {
    if (typeof each !== "string") {
      notes.refuse([...at, "secrets", i], "its place and owner are given; write its name alone");
      return [];
    }
    secrets.add(each);
    notes.differs([...at, "secrets", i], `it is in /run/holdfast/secrets/${each}`);
    return [[each, `\${secrets.${each}}`] as const];
  });
  return { secretFiles: Object.fromEntries(files) };
}

function readUser({ notes, at, service }: Part) {
  const { user } = service;
  if (user === undefined) {
    notes.differs(at, "without user it runs as 65532, not as the image's own user");
    return {};
  }
  return { user: textOf({ notes }, [...at, "user"], user) };
}

function readStop({ notes, at, service }: Part) {
  const { stop_signal: signal, stop_grace_period: grace } = service;
  const graceMs = grace === undefined ? undefined : durationMs(grace);
  if (grace !== undefined && graceMs === undefined) {
    notes.refuse([...at, "stop_grace_period"], "not a duration such as 1m30s");
  }
  if (signal === undefined && grace === undefined) return {};
  return {
    stop: { ...(signal !== undefined && { signal }), ...(graceMs !== undefined && { graceMs }) },
  };
}

function readRestart({ notes, at, service }: Part) {
  const { restart } = service;
  if (restart === undefined) return {};
  const policy = RESTARTS.get(String(restart));
  if (policy !== undefined) return { restart: { policy } };
  notes.refuse(
    [...at, "restart"],
    "what ends is started again; a program that ends is of kind job",
  );
  return {};
}

function readDependencies({ notes, at, service }: Part): readonly string[] {
  const given = service["depends_on"];
  if (Array.isArray(given)) return given.map(String);
  return Object.entries(isPlainObject(given) ? given : {}).map(([name, how]) => {
    const condition = isPlainObject(how) ? how["condition"] : undefined;
    if (condition === "service_completed_successfully") {
      notes.refuse([...at, "depends_on", name], "a service that ends is a resource of kind job");
    }
    return name;
  });
}
