/**
 * The test's own engine behind a door that makes it answer and leave out as a lesser one does: an older one, one on a host
 * without some control groups. What is not changed goes through as it is.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { JsonObject } from "../driver.ts";
import { Dock } from "../engine/dock.ts";
import type { DockerWorld } from "./docker.test-world.ts";

export type Lesser = Readonly<{
  version?: JsonObject;
  info?: JsonObject;
  /** Fields of HostConfig that it leaves out at the creation of a container, as its host cannot keep them. */
  leavesOut?: readonly string[];
}>;

export type LesserEngine = Readonly<{ socket: string; dock: Dock; end(): void }>;

/** `lesser` is asked at each question, so that a test can change the engine in its middle. */
export async function lesserEngine(
  { socket, dir }: Pick<DockerWorld, "socket" | "dir">,
  lesser: () => Lesser,
): Promise<LesserEngine> {
  const path = join(dir, "lesser.sock");
  const server = createServer((asked, answer) => {
    pass(socket, asked, answer, lesser()).catch((error: unknown) => answer.destroy(error as Error));
  });
  server.keepAliveTimeout = 0;
  server.listen(path);
  await once(server, "listening");
  return {
    socket: path,
    dock: new Dock(path),
    end: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function pass(
  socketPath: string,
  asked: IncomingMessage,
  answer: ServerResponse,
  { version, info, leavesOut }: Lesser,
): Promise<void> {
  const { method, url = "/", headers } = asked;
  const { pathname } = new URL(url, "http://engine");
  const inner = request({
    // A connection of its own: the engine may close one that was used before at any moment.
    ...{ agent: false, socketPath, method, path: url },
    headers: { ...headers, host: "engine" },
  });
  const answered = once(inner, "response") as Promise<[IncomingMessage]>;
  if (pathname === "/containers/create" && leavesOut !== undefined) {
    const wish = JSON.parse(await text(asked)) as { HostConfig: Record<string, unknown> };
    for (const name of leavesOut) delete wish.HostConfig[name];
    const body = JSON.stringify(wish);
    inner.setHeader("content-length", Buffer.byteLength(body));
    inner.end(body);
  } else asked.pipe(inner);
  const [given] = await answered;
  const change = pathname === "/version" ? version : pathname === "/info" ? info : undefined;
  if (change === undefined) {
    answer.writeHead(given.statusCode ?? 500, given.headers);
    given.pipe(answer);
    return;
  }
  const changed = { ...(JSON.parse(await text(given)) as JsonObject), ...change };
  answer.writeHead(given.statusCode ?? 500, { "content-type": "application/json" });
  answer.end(JSON.stringify(changed));
}
