/** Ports that a start gets, and who is named when it does not. */
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { reservePorts } from "./ports.ts";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

const always = (random: number) => ({ procDir: "/proc", random: () => random });
const free = (...names: readonly string[]) => new Map(names.map((name) => [name, undefined]));
/** Another place to begin for each test, so that tests in parallel do not meet. */
const somewhere = () => Math.random();

describe("free ports", () => {
  it("differ from each other and from those of other copies, whatever the chances are", async () => {
    const chance = always(somewhere());
    const first = await reservePorts(free("a", "b"), new Set(), chance);
    const taken = new Set(Object.values(first.ports));
    await first.release();
    const second = await reservePorts(free("a", "b"), taken, chance);
    await second.release();
    const all = [...taken, ...Object.values(second.ports)];
    expect(new Set(all).size).toBe(4);
    expect(all.every((port) => port >= 20_000 && port < 32_768)).toBe(true);
  });

  it("are not chosen twice while a start is about to use them", async () => {
    const chance = always(somewhere());
    const first = await reservePorts(free("a"), new Set(), chance);
    const second = await reservePorts(free("a"), new Set(), chance);
    expect(first.ports["a"]).not.toBe(second.ports["a"]);
    await Promise.all([first.release(), second.release()]);
  });

  it("are released also while somebody is connected to them", async () => {
    const { ports, release } = await reservePorts(free("a"), new Set(), always(somewhere()));
    const client = connect({ port: ports["a"] ?? 0, host: "127.0.0.1" }).resume();
    client.on("error", () => undefined);
    await once(client, "close");
    await release();
  });

  it("can be bound by the workload once they are released", async () => {
    const { ports, release } = await reservePorts(free("a"), new Set(), always(somewhere()));
    await release();
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(ports["a"], "127.0.0.1", resolve);
    });
  });
});

describe("a fixed port that is taken", () => {
  it("names its holder and lets the others go", async () => {
    const server = createServer().listen(0, "0.0.0.0");
    servers.push(server);
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const chance = always(somewhere());
    const attempt = reservePorts(
      new Map([
        ["a", undefined],
        ["b", port],
      ]),
      new Set(),
      chance,
    );
    await expect(attempt).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "PORT_IN_USE",
      message: expect.stringMatching(
        new RegExp(`^ports\\.b: port ${port} on 127\\.0\\.0\\.1 is held by pid ${process.pid} \\(`),
      ),
    });
    const again = await reservePorts(free("a"), new Set(), chance);
    await again.release();
  });
});
