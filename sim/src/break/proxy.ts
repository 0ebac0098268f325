/**
 * A TCP proxy that makes a network bad: late, narrow, lossy, cut, half-open. For tests of whatever talks TCP; it looks
 * at no byte. Its chances come from a seed, one stream of them for each connection and way; how a stream of bytes is
 * cut into pieces is the system's matter, so that a run is repeated in kind, not to the millisecond.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "@holdfast/shared/clock.ts";
import { seeded } from "../chance.ts";
import { CLEAR, type Conditions, describeConditions, type Order } from "./conditions.ts";
import { type Direction, Line } from "./line.ts";
import { Pipe } from "./pipe.ts";

export const PROXY_CONNECTIONS_MAX = 20_000;
const BACKLOG = 4_096;

export type Address = Readonly<{ host: string; port: number }>;

export type ProxyOptions = Readonly<{
  listen: Address;
  /** Asked for each connection, so that what is behind may move. */
  to(): Address;
  conditions?: Partial<Conditions>;
  seed: number;
  clock: Clock;
  /** What it does, in one line each. */
  say(line: string): void;
}>;

export interface NetworkProxy {
  readonly port: number;
  readonly connections: number;
  readonly conditions: Conditions;
  order(order: Order): void;
  /** Ends all connections by a reset. */
  stop(): Promise<void>;
}

export async function startProxy(options: ProxyOptions): Promise<NetworkProxy> {
  const proxy = new RunningProxy(options);
  await proxy.listen();
  return proxy;
}

type Relay = Readonly<{ number: number; near: Socket; far: Socket; stop: AbortController }>;

class RunningProxy implements NetworkProxy {
  readonly #options: ProxyOptions;
  readonly #line: Line;
  readonly #server: Server;
  readonly #relays = new Set<Relay>();
  readonly #stop = new AbortController();
  #cuts = new AbortController();
  #count = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#line = new Line(options.clock);
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => this.#take(near));
    this.#server.maxConnections = PROXY_CONNECTIONS_MAX;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get connections(): number {
    return this.#relays.size;
  }

  get conditions(): Conditions {
    return this.#line.conditions;
  }

  listen(): Promise<void> {
    const { listen, conditions } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...listen, backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        this.#options.say(`listening on ${listen.host}:${this.port}, seed ${this.#options.seed}`);
        this.order({ kind: "set", change: conditions ?? {} });
        resolve();
      });
    });
  }

  order(order: Order): void {
    switch (order.kind) {
      case "set":
      case "clear":
        this.#line.set(order.kind === "set" ? order.change : CLEAR);
        this.#status();
        this.#restartCuts();
        return;
      case "cut":
        void this.#cut(order.forMs);
        return;
      case "drop":
        this.#options.say(`reset of ${this.#relays.size} connections`);
        this.#resetAll();
        return;
      case "status":
        this.#status();
        return;
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#cuts.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#resetAll();
    await closed;
  }

  #status(): void {
    const cut = this.#line.isCut ? ", cut now" : "";
    const said = describeConditions(this.#line.conditions);
    this.#options.say(`${said}${cut}; ${this.#relays.size} connections`);
  }

  #restartCuts(): void {
    this.#cuts.abort();
    const stop = new AbortController();
    this.#cuts = stop;
    if (this.conditions.cutEveryMs > 0) void this.#cutRegularly(stop.signal);
  }

  async #cutRegularly(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const { cutEveryMs, cutForMs } = this.conditions;
    while (!signal.aborted) {
      await clock.sleep(cutEveryMs - cutForMs, signal);
      if (!signal.aborted) await this.#cut(cutForMs);
    }
  }

  async #cut(forMs: number): Promise<void> {
    const { clock, say } = this.#options;
    say(`cut for ${forMs} ms; ${this.#relays.size} connections`);
    const whole = this.#line.cut();
    if (this.conditions.reset) this.#resetAll();
    await clock.sleep(forMs, this.#stop.signal);
    whole();
    say(`the cut is over; ${this.#relays.size} connections`);
  }

  #resetAll(): void {
    for (const { near, far, stop } of this.#relays) {
      near.resetAndDestroy();
      far.resetAndDestroy();
      stop.abort();
    }
  }

  #take(near: Socket): void {
    near.on("error", () => undefined);
    if (this.#line.isCut && this.conditions.reset) {
      near.resetAndDestroy();
      return;
    }
    const number = ++this.#count;
    const { host, port } = this.#options.to();
    const far = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const relay = { number, near, far, stop: new AbortController() };
    this.#relays.add(relay);
    this.#options.say(`connection ${number} from ${near.remoteAddress}:${near.remotePort}`);
    void this.#relay(relay);
  }

  async #relay(relay: Relay): Promise<void> {
    const { number, near, far, stop } = relay;
    const up = this.#pipe(relay, "up", near, far);
    const down = this.#pipe(relay, "down", far, near);
    // With both sockets gone nothing is left to pass; what one way still holds goes with them.
    for (const socket of [near, far]) {
      socket.once("close", () => {
        if (near.destroyed && far.destroyed) stop.abort();
      });
    }
    await Promise.all([up.run(), down.run()]);
    near.destroy();
    far.destroy();
    this.#relays.delete(relay);
    this.#options.say(`connection ${number} ended: ${up.passed} B up, ${down.passed} B down`);
  }

  #pipe({ number, stop }: Relay, direction: Direction, from: Socket, to: Socket): Pipe {
    const { clock, seed } = this.#options;
    const random = seeded(seed, `${number} ${direction}`);
    return new Pipe(from, to, { direction, line: this.#line, clock, random, signal: stop.signal });
  }
}
