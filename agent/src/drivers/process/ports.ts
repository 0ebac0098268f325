/**
 * Ports of a start on 127.0.0.1: free ones are tried at random, fixed ones as they are. All stay bound until the
 * choice is written down, so that two starts of one agent never choose the same. Free ones lie below the range
 * from which the kernel serves connections: a port of that range could go to one of them before the program listens.
 */
import { createServer, type Server } from "node:net";
import type { Random } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { describeProcess, ephemeralPortMin, listenerOf } from "../host-process/proc.ts";

export const LOOPBACK = "127.0.0.1";
/** Free ports are chosen from here up to the kernel's range, where that leaves room. */
const FREE_PORT_MIN = 20_000;
const FREE_PORTS_ROOM_MIN = 1_000;
/** Choices that fall on ports of others, before giving up. */
const CHOICES_MAX = 50;

export type Reserved = Readonly<{
  ports: Readonly<Record<string, number>>;
  /** To be called once the choice is written and before the workload starts. */
  release(): Promise<void>;
}>;

/**
 * `taken`: ports of other copies, also of those that are not listening just now. Throws FAILED_PRECONDITION
 * `PORT_IN_USE`, which names the holder, and RESOURCE_EXHAUSTED `PORTS_EXHAUSTED`.
 */
export async function reservePorts(
  wanted: ReadonlyMap<string, number | undefined>,
  taken: ReadonlySet<number>,
  { procDir, random }: Readonly<{ procDir: string; random: Random }>,
): Promise<Reserved> {
  const ports: Record<string, number> = {};
  const bound: Server[] = [];
  const release = async () => void (await Promise.all(bound.map(close)));
  try {
    for (const [name, fixed] of wanted) {
      const server =
        fixed === undefined
          ? await bindFree(name, taken, chooser(procDir, random))
          : await bindFixed(name, fixed, procDir);
      bound.push(server);
      ports[name] = portOf(server);
    }
    return { ports, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Who holds a fixed port, in words, or undefined if it can be had. */
export async function fixedPortProblem(
  name: string,
  port: number,
  procDir: string,
): Promise<Readonly<{ message: string; pid: number | undefined }> | undefined> {
  const error = await bind(port).then(close, (failure: NodeJS.ErrnoException) => failure);
  if (error === undefined) return undefined;
  const at = `ports.${name}: port ${port} on ${LOOPBACK}`;
  if (error.code !== "EADDRINUSE") {
    return { message: `${at} cannot be had here: ${error.code}`, pid: undefined };
  }
  const pid = await listenerOf(procDir, port);
  const holder =
    pid === undefined ? "a process that cannot be seen from here" : describeProcess(procDir, pid);
  return { message: `${at} is held by ${holder}`, pid };
}

async function bindFixed(name: string, port: number, procDir: string): Promise<Server> {
  return await bind(port).catch(async (cause: unknown) => {
    const problem = await fixedPortProblem(name, port, procDir);
    const message = problem?.message ?? `ports.${name}: port ${port} was in use a moment ago`;
    throw portInUse(message, cause);
  });
}

export function portInUse(message: string, cause?: unknown): Fault {
  const next = "stop that process, or publish a release with another port or a free one";
  return new Fault("FAILED_PRECONDITION", "PORT_IN_USE", message, { next, cause });
}

async function bindFree(
  name: string,
  taken: ReadonlySet<number>,
  choose: (choice: number) => number,
): Promise<Server> {
  for (let choice = 0; choice < CHOICES_MAX; choice++) {
    const port = choose(choice);
    const server = taken.has(port) ? undefined : await bind(port).catch(() => undefined);
    if (server !== undefined) return server;
  }
  throw new Fault(
    "RESOURCE_EXHAUSTED",
    "PORTS_EXHAUSTED",
    `ports.${name}: ${CHOICES_MAX} choices fell on ports that others have`,
  );
}

/** From a port at random upwards, so that it ends whatever the chances are. */
function chooser(procDir: string, random: Random): (choice: number) => number {
  const room = ephemeralPortMin(procDir) - FREE_PORT_MIN;
  // A host that gives nearly all ports to connections leaves the choice to its kernel.
  if (room < FREE_PORTS_ROOM_MIN) return () => 0;
  const first = Math.floor(random() * room);
  return (choice) => FREE_PORT_MIN + ((first + choice) % room);
}

function bind(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    // Whoever connects meanwhile is sent away: a server closes once its last connection has.
    const server = createServer((socket) => void socket.destroy());
    server.once("error", reject);
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => resolve(server));
  });
}

function close(server: Server): Promise<undefined> {
  return new Promise((resolve) => server.close(() => resolve(undefined)));
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
