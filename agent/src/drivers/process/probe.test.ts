/** The probe's own HTTP: which answers it takes for one, however they come in parts. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, describe, expect, it } from "vitest";
import type { Copy } from "../host-process/copies.ts";
import { probe } from "./probe.ts";
import { createWorld, type World } from "./process.test-world.ts";

const TIMEOUT_MS = 5_000;
let world: World | undefined;
afterEach(() => world?.end());

/** What a probe says of a server that does this with each connection, once it was asked. */
async function saidOf(answer: (socket: Socket) => void | Promise<void>): Promise<string> {
  world = createWorld();
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      asked.push(data.toString("latin1"));
      void answer(socket);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  try {
    const target = { http: { port: "http", path: "/ok?a=b" }, timeoutMs: TIMEOUT_MS };
    const copy = { ports: { http: port } } as unknown as Copy;
    const { ok, message } = await probe(world.host, target, copy, world.wanted(), {
      ...world.context,
      clock: systemClock,
    });
    const head = `GET /ok?a=b HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`;
    expect(asked).toEqual([head]);
    return `${ok} ${message.replace(/^GET \S+: /, "")}`;
  } finally {
    server.close();
  }
}

describe("a probe of an agent that is late itself", () => {
  it("takes the answer that is there for one", async () => {
    world = createWorld();
    const server = createServer();
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    try {
      const copy = { ports: { http: port } } as unknown as Copy;
      const target = { tcp: { port: "http" }, timeoutMs: 20 };
      const asked = probe(world.host, target, copy, world.wanted(), world.context);
      // The kernel accepts at once; the timer is over before the event loop hears of it.
      const endsAt = performance.now() + 2 * target.timeoutMs;
      while (performance.now() < endsAt);
      expect(await asked).toMatchObject({ ok: true });
    } finally {
      server.close();
    }
  });
});

describe("a probe by HTTP", () => {
  it.each([
    ["a status", "HTTP/1.1 204 No Content\r\n\r\n", "true 204"],
    ["a status of HTTP/1.0 without a word", "HTTP/1.0 302\r\n", "true 302"],
    ["an error", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "false 503"],
    [
      "the status after those on the way",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n",
      "true 200",
    ],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "false the answer is not HTTP"],
    ["no answer", "", "false closed without an answer"],
    ["half an answer", "HTTP/1.", "false closed without an answer"],
    [
      "a head without an end",
      `HTTP/1.1 100 Continue\r\n${"x".repeat(20_000)}`,
      "false the answer is not HTTP",
    ],
  ])("hears %s", async (_, text, said) => {
    expect(await saidOf((socket) => void socket.end(text))).toBe(said);
  });

  it("hears an answer that comes in parts", async () => {
    const parts = ["HT", "TP/1.1 10", "2 Processing\r\n\r", "\nHTTP/1.1 2", "01 Created"];
    const inParts = async (socket: Socket) => {
      for (const part of parts) await new Promise((sent) => socket.write(part, sent));
    };
    expect(await saidOf(inParts)).toBe("true 201");
  });
});
