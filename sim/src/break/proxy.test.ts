/** The proxy over real sockets: what passes, what does not, and what each side notices. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, describe, expect, it } from "vitest";
import type { Conditions } from "./conditions.ts";
import { PIPE_BYTES_MAX } from "./pipe.ts";
import { type NetworkProxy, startProxy } from "./proxy.ts";

const HOST = "127.0.0.1";
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that gives back what it gets, unless told otherwise. */
async function server(serve: (socket: Socket) => void = (socket) => socket.pipe(socket)) {
  const sockets: Socket[] = [];
  const listening: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, HOST, resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => listening.close(resolve));
  });
  const address = listening.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { port, sockets, close: () => new Promise((resolve) => listening.close(resolve)) };
}

async function proxyTo(port: number, conditions: Partial<Conditions> = {}) {
  const said: string[] = [];
  const proxy = await startProxy({
    listen: { host: HOST, port: 0 },
    to: () => ({ host: HOST, port }),
    conditions,
    seed: 1,
    clock: systemClock,
    say: (line) => void said.push(line),
  });
  cleanups.push(() => proxy.stop());
  return { proxy, said };
}

async function clientOf({ port }: Pick<NetworkProxy, "port">) {
  const socket = connect({ host: HOST, port });
  const seen = { text: "", bytes: 0, end: "" };
  socket.on("data", (data: Buffer) => {
    seen.bytes += data.length;
    if (seen.text.length < 1_000) seen.text += data.toString("latin1");
  });
  socket.on("end", () => {
    seen.end ||= "end";
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    seen.end = error.code ?? "error";
  });
  cleanups.push(() => socket.destroy());
  await new Promise<void>((resolve) => {
    socket.once("connect", () => resolve());
    socket.once("close", () => resolve());
  });
  return { socket, seen };
}

const soon = { interval: 5 };

describe("a clear line", () => {
  it("passes bytes in order, and an end each way", async () => {
    const { proxy, said } = await proxyTo((await server()).port);
    const { socket, seen } = await clientOf(proxy);
    const bytes = Buffer.alloc(3 * 1_024 * 1_024, "abcdefg");
    socket.write(bytes);
    await expect.poll(() => seen.bytes, soon).toBe(bytes.length);
    socket.end();
    await expect.poll(() => seen.end, soon).toBe("end");
    await expect.poll(() => proxy.connections, soon).toBe(0);
    expect(said.at(-1)).toBe(`connection 1 ended: ${bytes.length} B up, ${bytes.length} B down`);
  });

  it("passes a reset, and that nobody listens", async () => {
    const behind = await server();
    const { proxy } = await proxyTo(behind.port);
    const first = await clientOf(proxy);
    await expect.poll(() => behind.sockets.length, soon).toBe(1);
    behind.sockets[0]?.resetAndDestroy();
    await expect.poll(() => first.seen.end, soon).toBe("ECONNRESET");
    await behind.close();
    const second = await clientOf(proxy);
    await expect.poll(() => second.seen.end, soon).toBe("ECONNRESET");
    await expect.poll(() => proxy.connections, soon).toBe(0);
  });
});

describe("a bad line", () => {
  it("delays each way", async () => {
    const { proxy } = await proxyTo((await server()).port, { delayMs: 80 });
    const { socket, seen } = await clientOf(proxy);
    const sentAt = performance.now();
    socket.write("ping");
    await expect.poll(() => seen.text, soon).toBe("ping");
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(160);
  });

  it("loses nothing and swaps nothing, however lossy and uneven it is", async () => {
    const conditions = { delayMs: 5, jitterMs: 30, lossShare: 0.2 };
    const { proxy } = await proxyTo((await server()).port, conditions);
    const { socket, seen } = await clientOf(proxy);
    const words = Array.from({ length: 100 }, (_, at) => `${at} `);
    for (const word of words) {
      socket.write(word);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => seen.text, soon).toBe(words.join(""));
  });

  it("carries no more than its bandwidth", async () => {
    const { proxy } = await proxyTo((await server()).port, { bytesPerSecond: 100_000 });
    const { socket, seen } = await clientOf(proxy);
    const sentAt = performance.now();
    socket.write(Buffer.alloc(50_000));
    await expect.poll(() => seen.bytes, soon).toBe(50_000);
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(450);
  });

  it("holds a bounded number of bytes of a sender who is faster than the line", async () => {
    const behind = await server((socket) => socket.pause());
    const { proxy } = await proxyTo(behind.port, { halfOpen: true });
    const { socket } = await clientOf(proxy);
    const total = 64 * 1_024 * 1_024;
    socket.write(Buffer.alloc(total));
    await expect
      .poll(async () => {
        const before = socket.bytesWritten - socket.writableLength;
        await systemClock.sleep(200);
        return socket.bytesWritten - socket.writableLength - before;
      })
      .toBe(0);
    // What left the sender lies in the kernels' buffers and in one pipe.
    expect(socket.writableLength).toBeGreaterThan(total / 2);
    expect(PIPE_BYTES_MAX).toBeLessThan(1_024 * 1_024);
  });
});

describe("a cut", () => {
  it("is silent: nothing passes, nobody is told, and afterwards all of it arrives", async () => {
    const behind = await server();
    const { proxy, said } = await proxyTo(behind.port);
    const { socket, seen } = await clientOf(proxy);
    socket.write("a");
    await expect.poll(() => seen.text, soon).toBe("a");
    proxy.order({ kind: "cut", forMs: 300 });
    const cutAt = performance.now();
    socket.write("b");
    behind.sockets[0]?.end("c");
    await expect.poll(() => seen.text, soon).toContain("c");
    expect(performance.now() - cutAt).toBeGreaterThanOrEqual(290);
    await expect.poll(() => seen.end, soon).toBe("end");
    expect(said).toContain("the cut is over; 1 connections");
  });

  it("is told by a reset where that is asked for, and turns new connections away", async () => {
    const { proxy } = await proxyTo((await server()).port, { reset: true });
    const before = await clientOf(proxy);
    await expect.poll(() => proxy.connections, soon).toBe(1);
    proxy.order({ kind: "cut", forMs: 500 });
    await expect.poll(() => before.seen.end, soon).toBe("ECONNRESET");
    const during = await clientOf(proxy);
    await expect.poll(() => during.seen.end, soon).toBe("ECONNRESET");
  });

  it("comes again and again, until the line is cleared", async () => {
    const { proxy, said } = await proxyTo((await server()).port);
    proxy.order({ kind: "set", change: { cutEveryMs: 50, cutForMs: 20 } });
    const cuts = () => said.filter((line) => line.startsWith("cut for 20 ms")).length;
    await expect.poll(cuts, soon).toBeGreaterThanOrEqual(3);
    proxy.order({ kind: "clear" });
    const { socket, seen } = await clientOf(proxy);
    socket.write("through");
    await expect.poll(() => seen.text, soon).toBe("through");
  });
});

describe("a half-open line", () => {
  it("accepts, passes nothing, and lets everything through when it is whole again", async () => {
    const behind = await server();
    const { proxy } = await proxyTo(behind.port, { halfOpen: true });
    const { socket, seen } = await clientOf(proxy);
    socket.write("late");
    await expect.poll(() => behind.sockets.length, soon).toBe(1);
    await systemClock.sleep(100);
    expect(behind.sockets[0]?.bytesRead).toBe(0);
    proxy.order({ kind: "set", change: { halfOpen: false } });
    await expect.poll(() => seen.text, soon).toBe("late");
  });

  it("does not tell that the other side has gone", async () => {
    const behind = await server();
    const { proxy } = await proxyTo(behind.port);
    const { seen } = await clientOf(proxy);
    await expect.poll(() => behind.sockets.length, soon).toBe(1);
    proxy.order({ kind: "set", change: { halfOpen: true } });
    behind.sockets[0]?.resetAndDestroy();
    await systemClock.sleep(100);
    expect(seen.end).toBe("");
    proxy.order({ kind: "clear" });
    await expect.poll(() => seen.end, soon).toBe("ECONNRESET");
  });
});
