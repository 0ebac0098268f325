/** Bare node:http2 and etcd under N watchers. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, credentials } from "@grpc/grpc-js";
import { freePorts } from "../../../scripts/fleet/ports.ts";
import { Crowd } from "./crowd.ts";
import { putAll } from "./etcd-wire.ts";
import type { Identity } from "./identity.ts";
import { type FromWatcher, type ToWatcher, type WatchOrder, wallMs } from "./messages.ts";
import { Server } from "./server.ts";

const PROCESSES = 2;
const START_MS_MAX = 30_000;
const POLL_MS = 50;
/** etcd takes at most 128 operations in a transaction by default. */
const PUTS_PER_TRANSACTION = 128;

/** Watchers in processes of their own. */
export class Watchers {
  readonly crowd: Crowd;
  readonly #children: readonly ChildProcess[];
  readonly #count: number;

  constructor(count: number) {
    this.crowd = new Crowd(count);
    this.#count = count;
    this.#children = Array.from({ length: PROCESSES }, () => {
      const child = fork(join(import.meta.dirname, "watchers.ts"));
      child.on("message", (message: FromWatcher) => this.#take(message));
      return child;
    });
  }

  connect(server: WatchOrder["server"], port: number, client: Identity): void {
    const share = Math.ceil(this.#count / PROCESSES);
    for (const [at, child] of this.#children.entries()) {
      const from = at * share;
      const order = { server, port, from, count: Math.min(share, this.#count - from), ...client };
      child.send({ type: "watch", order } satisfies ToWatcher);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        const gone = once(child, "exit");
        child.send({ type: "stop" } satisfies ToWatcher);
        await gone;
      }),
    );
  }

  #take(message: FromWatcher): void {
    const who = String(message.watcher);
    if (message.type === "up") this.crowd.up(who, message.at);
    else if (message.type === "down") this.crowd.down(who);
    else this.crowd.received(who, message.at, message.digest);
  }
}

export class Bare {
  readonly #file: string;
  server: Server | undefined;
  port = 0;

  constructor(home: string, identity: Identity, payloadBytes: number) {
    this.#file = join(home, "bare.json");
    const ticketKeys = randomBytes(48).toString("base64");
    writeFileSync(this.#file, JSON.stringify({ ...identity, ticketKeys, port: 0, payloadBytes }));
  }

  /** On the same port as before. */
  async start(): Promise<Server> {
    this.server = new Server("bare-server.ts", this.#file);
    this.port = (await this.server.next("listening")).port;
    return this.server;
  }
}

export type Put = Readonly<{ calledAt: number; committedAt: number }>;

export class Etcd {
  readonly child: ChildProcess;
  readonly port: number;
  readonly #kv: Client;

  private constructor(child: ChildProcess, port: number, client: Identity) {
    this.child = child;
    this.port = port;
    this.#kv = new Client(
      `127.0.0.1:${port}`,
      credentials.createSsl(
        Buffer.from(client.ca),
        Buffer.from(client.key),
        Buffer.from(client.certificate),
      ),
      { "grpc.ssl_target_name_override": "localhost" },
    );
  }

  /** Undefined where there is no etcd on the PATH. */
  static async start(home: string, server: Identity, client: Identity): Promise<Etcd | undefined> {
    const at = join(home, "etcd");
    mkdirSync(at, { recursive: true });
    for (const [name, pem] of Object.entries(server))
      writeFileSync(join(at, name), pem, { mode: 0o600 });
    const [port = 0, peer = 0] = await freePorts(14_000, 2);
    const url = `https://127.0.0.1:${port}`;
    const child = spawn(
      "etcd",
      [
        ...["--data-dir", join(at, "data"), "--log-level", "error", "--logger", "zap"],
        ...["--listen-client-urls", url, "--advertise-client-urls", url],
        ...["--listen-peer-urls", `http://127.0.0.1:${peer}`],
        ...["--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`],
        ...["--initial-cluster", `default=http://127.0.0.1:${peer}`],
        ...["--cert-file", join(at, "certificate"), "--key-file", join(at, "key")],
        ...["--client-cert-auth", "--trusted-ca-file", join(at, "ca")],
      ],
      { stdio: "ignore" },
    );
    const isThere = await Promise.race([
      once(child, "spawn").then(() => true),
      once(child, "error").then(() => false),
    ]);
    if (!isThere) return undefined;
    const etcd = new Etcd(child, port, client);
    await etcd.#ready();
    return etcd;
  }

  /** A value of its own for each key; the last acknowledgement is the moment that counts. */
  putAll(count: number, bytes: number): Promise<Put> {
    return this.#put(
      Array.from({ length: count }, (_, watcher) => watcher),
      bytes,
    );
  }

  /** A value for the key of one watcher. */
  putOne(watcher: number, bytes: number): Promise<Put> {
    return this.#put([watcher], bytes);
  }

  async #put(watchers: readonly number[], bytes: number): Promise<Put> {
    const pairs = watchers.map((watcher) => [`bench/${watcher}`, randomBytes(bytes)] as const);
    const calledAt = wallMs();
    for (let at = 0; at < pairs.length; at += PUTS_PER_TRANSACTION) {
      await this.#transaction(putAll(pairs.slice(at, at + PUTS_PER_TRANSACTION)));
    }
    return { calledAt, committedAt: wallMs() };
  }

  get rssBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, "latin1");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  async stop(): Promise<void> {
    this.#kv.close();
    if (this.child.exitCode !== null) return;
    const gone = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await gone;
  }

  async #ready(): Promise<void> {
    for (const end = performance.now() + START_MS_MAX; ; await sleep(POLL_MS)) {
      const isUp = await this.putAll(1, 1).then(
        () => true,
        () => false,
      );
      if (isUp) return;
      if (performance.now() > end) throw new Error("etcd did not start in time");
    }
  }

  #transaction(request: Uint8Array): Promise<void> {
    const same = (bytes: Uint8Array) => Buffer.from(bytes);
    return new Promise((resolve, reject) => {
      this.#kv.makeUnaryRequest("/etcdserverpb.KV/Txn", same, same, request, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }
}
