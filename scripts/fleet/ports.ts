/** Ports for listeners that keep their number over restarts, since agents remember where their hub is. */
import { createServer } from "node:net";

/** Below the range from which the kernel gives ports to clients (32768 on Linux), which must never be bound. */
export const PORT_MAX = 32_000;

/** The first `count` neighbouring ports from `from` on that are free on 127.0.0.1. */
export async function freePorts(from: number, count: number): Promise<readonly number[]> {
  for (let first = from; first + count <= PORT_MAX; first += count) {
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return ports;
  }
  throw new Error(`no ${count} free ports on 127.0.0.1 between ${from} and ${PORT_MAX}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
