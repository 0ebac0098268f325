/**
 * Ports of the host for a start: fixed ones as they are, free ones at random below the range from which the kernel
 * serves connections. The engine has the last word; what it refuses is chosen again.
 */
import type { Random } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, ResourceKey } from "../driver.ts";
import { findCopies } from "../engine/copies.ts";
import { type ContainerHost, LOOPBACK } from "../engine/host.ts";

/** Free ports are chosen from here on. */
const FREE_PORT_MIN = 20_000;
const FREE_PORTS_ROOM_MIN = 1_000;
const CHOICES_MAX = 200;

/** `taken`: ports that somebody has. Throws RESOURCE_EXHAUSTED `PORTS_EXHAUSTED`. */
export function choosePorts(
  wanted: ReadonlyMap<string, number | undefined>,
  taken: ReadonlySet<number>,
  { random, portMax }: Readonly<{ random: Random; portMax: number }>,
): Readonly<Record<string, number>> {
  const room = Math.max(FREE_PORTS_ROOM_MIN, portMax - FREE_PORT_MIN);
  const used = new Set(taken);
  const chosen: Record<string, number> = {};
  for (const [name, fixed] of wanted) {
    const port = fixed ?? chooseFree(name, used, () => FREE_PORT_MIN + Math.floor(random() * room));
    used.add(port);
    chosen[name] = port;
  }
  return chosen;
}

function chooseFree(name: string, used: ReadonlySet<number>, choose: () => number): number {
  for (let choice = 0; choice < CHOICES_MAX; choice++) {
    const port = choose();
    if (!used.has(port)) return port;
  }
  const message = `ports.${name}: ${CHOICES_MAX} choices fell on ports that others have`;
  throw new Fault("RESOURCE_EXHAUSTED", "PORTS_EXHAUSTED", message);
}

type Published = Readonly<{ port: number; container: string }>;

/** What the engine's containers have of the host's ports, ours or not. */
export async function publishedPorts(
  { dock }: Pick<ContainerHost, "dock">,
  { signal }: DriverContext,
): Promise<readonly Published[]> {
  const running = await dock.ask("ports", signal, (docker) => docker.listContainers());
  return running.flatMap(({ Names, Ports }) =>
    Ports.flatMap(({ PublicPort: port }) => {
      const container = Names[0]?.slice(1) ?? "";
      return port === undefined ? [] : [{ port, container }];
    }),
  );
}

/**
 * Who has a fixed port, unless it is a copy of the resource itself, which goes first. Throws FAILED_PRECONDITION
 * `PORT_IN_USE`, which names the holder.
 */
export async function refuseTakenPorts(
  host: ContainerHost,
  key: ResourceKey,
  wanted: ReadonlyMap<string, number | undefined>,
  context: DriverContext,
): Promise<void> {
  const fixed = [...wanted].flatMap(([name, port]) => (port === undefined ? [] : [{ name, port }]));
  if (fixed.length === 0) return;
  const published = await publishedPorts(host, context);
  const copies = await findCopies(host, context);
  for (const { name, port } of fixed) {
    const holder = copies.find(
      (copy) => copy.state === "running" && Object.values(copy.ports).includes(port),
    );
    const { instanceId, resourceId } = holder?.key ?? {};
    if (instanceId === key.instanceId && resourceId === key.resourceId) continue;
    if (holder !== undefined) {
      throw portInUse(name, port, `${resourceId} of ${instanceId} on this agent`);
    }
    const other = published.find((each) => each.port === port);
    if (other !== undefined) throw portInUse(name, port, `the container ${other.container}`);
    const problem = await host.portProblem(name, port);
    if (problem !== undefined) throw inUse(problem);
  }
}

export function portInUse(name: string, port: number, holder: string): Fault {
  return inUse(`ports.${name}: port ${port} on ${LOOPBACK} is held by ${holder}`);
}

function inUse(message: string): Fault {
  const next = "stop what holds it, or publish a release with another port or a free one";
  return new Fault("FAILED_PRECONDITION", "PORT_IN_USE", message, { next });
}
