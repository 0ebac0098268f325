/**
 * Test support: a way to a test's database that can be cut, as when its server is killed, or made to swallow
 * everything, as when a machine or a line is gone without a word.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOCKET_PORT } from "../cluster/postmaster.ts";
import type { Connection } from "./database.ts";
import type { TestStore } from "./testing.ts";

/** AuthenticationOk, ReadyForQuery, and the FATAL of a server whose postmaster has gone. */
const LAST_WORDS = Buffer.from(
  "R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IE\0\0\0\x19SFATAL\0C57P01\0Mgone\0\0",
  "latin1",
);
const SOCKET = `.s.PGSQL.${SOCKET_PORT}`;

export type TestWay = Readonly<{
  app: Connection;
  key: Connection;
  /** Ends all connections and refuses new ones. */
  cut(): void;
  /** Present connections stay open and carry nothing any more. */
  swallow(): void;
  /** New connections are greeted and ended in one breath, as by a server that dies just then. */
  greetAndEnd(): void;
  mend(): void;
  close(): Promise<void>;
}>;

export async function wayTo({ cluster }: TestStore): Promise<TestWay> {
  if (!("socketDir" in cluster.app)) throw new Error("the test's cluster has no socket");
  const target = join(cluster.app.socketDir, SOCKET);
  const socketDir = await mkdtemp(join(tmpdir(), "hf-way-"));
  const sockets = new Set<Socket>();
  const state = { isCut: false, isEnding: false };
  const server = createServer((near) => {
    near.on("error", () => near.destroy());
    if (state.isCut) {
      near.destroy();
      return;
    }
    if (state.isEnding) {
      near.once("data", () => near.end(LAST_WORDS));
      return;
    }
    const far = connect(target);
    far.on("error", () => far.destroy());
    near.pipe(far).pipe(near);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(join(socketDir, SOCKET), resolve));
  const cut = () => {
    state.isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    app: { ...cluster.app, socketDir },
    key: { ...cluster.key, socketDir },
    cut,
    swallow: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.resume();
      }
    },
    greetAndEnd: () => {
      cut();
      state.isCut = false;
      state.isEnding = true;
    },
    mend: () => {
      state.isCut = false;
      state.isEnding = false;
    },
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
      await rm(socketDir, { recursive: true, force: true });
    },
  };
}
