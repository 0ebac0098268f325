/** What went wrong on the way to the hub, over a real connection. */
import { createServer } from "node:http2";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { afterEach, describe, expect, it } from "vitest";
import { exitCodeOf } from "./exit-codes.ts";
import { openHub } from "./hub-client.ts";
import { TestTerminal } from "./terminal.fixture.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe("a hub that dies in the middle of a call", () => {
  it.each([
    ["CANCEL", 0x8],
    ["REFUSED_STREAM", 0x7],
    ["INTERNAL_ERROR", 0x2],
  ])("is not reachable, rather than interrupted by somebody (%s)", async (_, code) => {
    const server = createServer();
    server.on("stream", (stream) => {
      // What it is closed with comes back to it as an error, at times after the test.
      stream.on("error", () => undefined);
      stream.close(code);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const hub = await openHub(new TestTerminal().terminal, {
      name: "",
      api: `http://127.0.0.1:${port}`,
    });
    cleanups.push(
      () => new Promise((resolve) => server.close(resolve)),
      () => hub.close(),
    );
    const call = hub.call(() => hub.client(HubService).setKeySet({}));
    const fault = await call.then(
      () => undefined,
      (error: unknown) => error as Parameters<typeof exitCodeOf>[0],
    );
    expect(fault).toMatchObject({ code: "UNAVAILABLE", reason: "HUB_UNREACHABLE" });
    expect(fault === undefined ? 0 : exitCodeOf(fault)).toBe(8);
  });
});
