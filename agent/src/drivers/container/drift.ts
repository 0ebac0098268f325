/**
 * What the agent owns of a container that runs and somebody else can change under it: its limits, who starts it again,
 * its place in the instance's network, and that it is not paused. All else of it cannot be changed while it lives.
 */
import type { Difference, JsonObject, JsonValue, Live, Step, Wanted } from "../driver.ts";
import { limitsOf, policyOf } from "../engine/create.ts";
import type { Docker } from "../engine/dock.ts";
import type { ContainerSpec } from "../engine/spec.ts";
import { objectOf } from "../json-file.ts";
import { DRIVER_KIND } from "./steps.ts";

export const RESTORE = "restore";
/** A few questions to the engine. */
const RESTORE_MS = 60_000;
const BYTES_PER_MIB = 1_048_576;
const NANO_PER_MILLI = 1_000_000;
const SHARES_PER_CORE = 1_024;
const MILLI = 1_000;
const JOINED = "joined";
const NONE = "none";

type Amounts = Pick<
  Docker.HostConfig,
  "Memory" | "MemoryReservation" | "NanoCpus" | "CpuQuota" | "CpuPeriod" | "CpuShares" | "PidsLimit"
>;

/** In the shape of the spec, with `network` and `paused` beside. `network`: the name of the instance's own. */
export function fieldsIn(
  { HostConfig, NetworkSettings, State }: Docker.ContainerInspectInfo,
  network: string,
): JsonObject {
  const isJoined = NetworkSettings.Networks[network] !== undefined;
  return {
    ...amountsIn(HostConfig),
    restart: { policy: HostConfig.RestartPolicy?.Name || "no" },
    network: isJoined ? JOINED : "left",
    paused: State.Paused,
  };
}

function amountsIn(config: Amounts): JsonObject {
  const { Memory, MemoryReservation, NanoCpus, CpuQuota, CpuPeriod, CpuShares, PidsLimit } = config;
  const mib = (bytes: number | undefined) => (bytes ? bytes / BYTES_PER_MIB : NONE);
  const quota = CpuQuota && CpuPeriod ? (CpuQuota * MILLI) / CpuPeriod : NONE;
  return {
    limits: {
      memoryMib: mib(Memory),
      cpuMillis: NanoCpus ? NanoCpus / NANO_PER_MILLI : quota,
      pids: PidsLimit && PidsLimit > 0 ? PidsLimit : NONE,
    },
    requests: {
      memoryMib: mib(MemoryReservation),
      cpuMillis: CpuShares ? Math.round((CpuShares * MILLI) / SHARES_PER_CORE) : NONE,
    },
  };
}

export function driftOf(
  fields: JsonObject | undefined,
  spec: ContainerSpec,
): readonly Difference[] {
  if (fields === undefined) return [];
  const written = amountsIn(limitsOf(spec));
  const amounts = (["limits", "requests"] as const).flatMap((part) =>
    Object.entries(spec[part]).flatMap(([name, asked]) => {
      const live = valueIn(fields, part, name);
      if (part === "requests" && live === NONE) return [];
      // As the engine can say it: shares are no thousandths.
      return differing(`${part}.${name}`, asked, valueIn(written, part, name), live);
    }),
  );
  const policy = policyOf(spec);
  return [
    ...amounts,
    ...differing("restart.policy", policy, policy, valueIn(fields, "restart", "policy")),
    ...differing("network", JOINED, JOINED, fields["network"]),
    ...differing("paused", false, false, fields["paused"]),
  ];
}

/**
 * Requests that the engine has left out at the start, since its host has no control group for them: nobody can take one
 * away later. Undefined where it keeps all.
 */
export function requestsLeftOut(
  { HostConfig }: Docker.ContainerInspectInfo,
  { requests }: ContainerSpec,
): string | undefined {
  const live = objectOf(amountsIn(HostConfig)["requests"]);
  const names = Object.entries(requests)
    .filter(([name, asked]) => asked !== undefined && live?.[name] === NONE)
    .map(([name]) => `requests.${name}`);
  return names.length === 0 ? undefined : `the engine of this host cannot keep ${names.join(", ")}`;
}

function differing(
  path: string,
  asked: JsonValue | undefined,
  written: JsonValue | undefined,
  live: JsonValue | undefined,
): readonly Difference[] {
  if (asked === undefined || live === undefined || live === written) return [];
  return [{ path, applied: asked, live }];
}

function valueIn(from: JsonObject, part: string, name: string): JsonValue | undefined {
  return objectOf(from[part])?.[name];
}

export function restoreSteps(live: Live, { digest }: Wanted, spec: ContainerSpec): readonly Step[] {
  const differences = driftOf(live.fields, spec);
  if (differences.length === 0) return [];
  const { resourceId, instanceId } = live.key;
  const paths = differences.map(({ path }) => path).join(", ");
  return [
    {
      ...{ resourceId, kind: DRIVER_KIND, verb: RESTORE },
      input: { instance: instanceId, handle: live.handle, digest },
      id: `${resourceId}/restore`,
      class: "reversible",
      when: "before-commit",
      summary: `bring back ${paths} of ${resourceId}, which goes on running`,
      msMax: RESTORE_MS,
    },
  ];
}
