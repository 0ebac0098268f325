/**
 * What the engine is told to make of a spec. Pure. The restricted profile stands here and nowhere else: no new
 * privileges, no capabilities, the engine's default seccomp filter, namespaces of its own, a bounded log.
 */
import type { ContainerMount } from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import { GIVEN_PATH, OUTPUTS_PATH } from "@holdfast/shared/blueprint/kinds/container-mounts.ts";
import type { ResourceKey, Wanted } from "../driver.ts";
import type { Docker } from "./dock.ts";
import { GIVEN_SEATS, givenSecret } from "./given.ts";
import { LOOPBACK } from "./host.ts";
import { containerName, hostName, labelsOf, volumeName } from "./marks.ts";
import type { ContainerSpec } from "./spec.ts";

export type Creation = Readonly<{
  stateDir: string;
  wanted: Wanted;
  spec: ContainerSpec;
  handle: string;
  restarts: number;
  image: Readonly<{ id: string; ownName: string }>;
  ports: Readonly<Record<string, number>>;
  network: string;
  /** Folder in memory with secrets and seats. */
  given: string;
  /** With resolved sources. */
  mounts: readonly ContainerMount[];
  /** Of the kind alone. */
  variables?: Readonly<Record<string, string>>;
  /** Folder of the host into which it may write what it gives out. */
  outputs?: string;
}>;

/** Where the spec says nothing: more than a server needs, less than a fork bomb. */
const PIDS_DEFAULT = 4_096;
const BYTES_PER_MIB = 1_048_576;
const NANO_PER_MILLI = 1_000_000;
const SHARES_PER_CORE = 1_024;
/** What the engine keeps of the output until it is read; 16 MiB in all. */
const LOG = { "max-size": "8m", "max-file": "2" };
const POLICIES = { agent: "no", "on-failure": "on-failure", always: "unless-stopped" } as const;

export function containerOf(its: Creation): Docker.ContainerCreateOptions {
  const { wanted, spec, handle, ports, network } = its;
  const { argv, user, readiness, liveness } = spec;
  const [program, ...args] = argv ?? [];
  const asksImage = readiness?.image !== undefined || liveness?.image !== undefined;
  const marks = { handle, ports, restarts: its.restarts, image: its.image.ownName };
  const { resourceId } = wanted.key;
  return {
    name: containerName(its.stateDir, wanted.key.instanceId, handle),
    Image: its.image.id,
    Hostname: resourceId,
    User: `${user.uid}:${user.gid}`,
    ...(program !== undefined && { Entrypoint: [program], Cmd: args }),
    Env: Object.entries(environmentOf(its)).map((pair) => pair.join("=")),
    Labels: labelsOf(its.stateDir, wanted, { ...marks, restartPolicy: spec.restart.policy }),
    StopSignal: spec.stop.signal,
    ExposedPorts: Object.fromEntries(Object.values(spec.ports).map((port) => [numberOf(port), {}])),
    ...(!asksImage && { Healthcheck: { Test: ["NONE"] } }),
    HostConfig: hostConfigOf(its),
    NetworkingConfig: {
      EndpointsConfig: {
        [network]: { Aliases: [resourceId, hostName(resourceId, handle)] },
      },
    },
  };
}

/** `8080/tcp`, as the engine writes ports. */
export function numberOf({ container, protocol }: ContainerSpec["ports"][string]): string {
  return `${container}/${protocol}`;
}

function hostConfigOf(its: Creation): Docker.HostConfig {
  const { spec, ports, network } = its;
  const bindings = Object.entries(spec.ports).flatMap(([name, port]) =>
    ports[name] === undefined
      ? []
      : [[numberOf(port), [{ HostIp: LOOPBACK, HostPort: String(ports[name]) }]] as const],
  );
  return {
    NetworkMode: network,
    PortBindings: Object.fromEntries(bindings),
    Privileged: false,
    CapDrop: ["ALL"],
    SecurityOpt: ["no-new-privileges:true"],
    IpcMode: "private",
    ReadonlyRootfs: spec.readOnlyRoot,
    RestartPolicy: { Name: policyOf(spec) },
    LogConfig: { Type: "json-file", Config: LOG },
    Mounts: mountsOf(its),
    Tmpfs: Object.fromEntries(
      spec.tmpfs.map(({ path, mib }) => [path, `rw,nosuid,nodev,noexec,mode=1777,size=${mib}m`]),
    ),
    ...limitsOf(spec),
    ...(spec.gpus && { DeviceRequests: [devicesOf(spec.gpus)] }),
  };
}

/** As the engine calls it. */
export function policyOf({ restart }: ContainerSpec): (typeof POLICIES)[keyof typeof POLICIES] {
  return POLICIES[restart.policy];
}

/** Swap is none beyond the memory, so that the limit means what it says. */
export function limitsOf({ limits, requests }: ContainerSpec) {
  const { cpuMillis, memoryMib, pids } = limits;
  const bytes = (memoryMib ?? 0) * BYTES_PER_MIB;
  const shares = Math.max(2, Math.round(((requests.cpuMillis ?? 0) * SHARES_PER_CORE) / 1_000));
  return {
    PidsLimit: pids ?? PIDS_DEFAULT,
    ...(cpuMillis !== undefined && { NanoCpus: cpuMillis * NANO_PER_MILLI }),
    ...(memoryMib !== undefined && { Memory: bytes, MemorySwap: bytes }),
    ...(requests.memoryMib !== undefined && {
      MemoryReservation: requests.memoryMib * BYTES_PER_MIB,
    }),
    ...(requests.cpuMillis !== undefined && { CpuShares: shares }),
  };
}

function devicesOf({ driver, count, deviceIds, capabilities }: NonNullable<ContainerSpec["gpus"]>) {
  const which = deviceIds.length > 0 ? { DeviceIDs: [...deviceIds] } : { Count: count };
  return { Driver: driver, ...which, Capabilities: [[...capabilities]] };
}

function mountsOf(its: Creation): Docker.MountSettings[] {
  const { spec, stateDir, wanted } = its;
  const volumes = Object.entries(spec.volumes).map(
    ([name, { path, readOnly }]): Docker.MountSettings => ({
      Type: "volume",
      Source: volumeName(stateDir, wanted.key.instanceId, name),
      Target: path,
      ReadOnly: readOnly,
    }),
  );
  const bind = (Source: string, Target: string, ReadOnly: boolean): Docker.MountSettings => ({
    Type: "bind",
    ...{ Source, Target, ReadOnly },
    BindOptions: { Propagation: "rprivate" },
  });
  const paths = its.mounts.map(({ source, path, readOnly }) => bind(source, path, readOnly));
  const outputs = its.outputs === undefined ? [] : [bind(its.outputs, OUTPUTS_PATH, false)];
  return [...volumes, ...paths, bind(its.given, GIVEN_PATH, true), ...outputs];
}

/** Ports as they are inside; secrets only as paths. */
function environmentOf({ wanted, spec, variables }: Creation): Readonly<Record<string, string>> {
  const given: Record<string, string> = {
    HOLDFAST_RELEASE: wanted.releaseVersion,
    ...identityIn(wanted.key),
    HOLDFAST_SEATS_FILE: GIVEN_SEATS,
  };
  for (const [name, { container }] of Object.entries(spec.ports)) {
    given[`HOLDFAST_PORT_${variable(name)}`] = String(container);
  }
  for (const name of Object.keys(spec.secretFiles)) {
    given[`HOLDFAST_SECRET_${variable(name)}_FILE`] = givenSecret(name);
  }
  return { ...given, ...variables, ...spec.env };
}

function identityIn({ instanceId, resourceId }: ResourceKey) {
  return { HOLDFAST_INSTANCE: instanceId, HOLDFAST_RESOURCE: resourceId };
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}
