/** The hub under N simulated agents on the real link, each with an identity and an instance of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../../scripts/fleet/ports.ts";
import type { SimEvent } from "../../../sim/src/events.ts";
import { type SimFleet, startSimFleet } from "../../../sim/src/fleet/fleet.ts";
import { SIM_PRODUCT } from "../../../sim/src/fleet/offer.ts";
import { ROOT } from "../fleet.ts";
import { Crowd } from "./crowd.ts";
import { Server } from "./server.ts";

const START_MS_MAX = 60_000;
const POLL_MS = 50;
/** The bench asks what a hub can do, not how it protects itself from more than that. */
const HANDSHAKES_PER_SECOND = 100_000;
const PROCESSES = 2;

export class Ours {
  readonly crowd: Crowd;
  readonly #home: string;
  readonly #agents: number;
  #server: Server | undefined;
  #fleet: SimFleet | undefined;

  /** `home` keeps identities and the hub's data; a second bench in it need not enrol again. */
  constructor(home: string, agents: number) {
    this.#home = home;
    this.#agents = agents;
    this.crowd = new Crowd(agents);
  }

  get server(): Server {
    if (this.#server === undefined) throw new Error("the hub is not running");
    return this.#server;
  }

  /** Every agent has an identity and an instance; the hub is fresh, and nobody is connected. */
  async prepare(): Promise<void> {
    await this.#configure();
    await this.startHub();
    this.#offerProduct();
    this.#fleet = startSimFleet({
      ...{ agents: this.#agents, processes: PROCESSES, stateDir: this.#file("agents") },
      context: {
        name: "",
        api: this.#api(),
        caFile: this.#file("hub/ca.pem"),
        tokenFile: this.#file("owner"),
      },
      wish: SIM_PRODUCT,
      pace: { usageMs: 0 },
      onEvent: (event) => this.#take(event),
      onProgress: (prepared) =>
        process.stderr.write(`\r${prepared} of ${this.#agents} agents enrolled`),
    });
    await this.#fleet.prepare();
    process.stderr.write("\n");
    await this.server.end("SIGTERM");
    await this.startHub();
  }

  connect(): void {
    this.#fleet?.connect(0);
  }

  async startHub(): Promise<void> {
    rmSync(this.#file("hub/endpoints.json"), { force: true });
    this.#server = new Server("hub-process.ts", this.#file("hub.json"));
    for (
      const end = performance.now() + START_MS_MAX;
      performance.now() < end;
      await sleep(POLL_MS)
    ) {
      if (existsSync(this.#file("hub/endpoints.json"))) return;
    }
    throw new Error("the hub did not start in time");
  }

  async stop(): Promise<void> {
    await this.#fleet?.stop();
    await this.#server?.end("SIGTERM");
  }

  #take(event: SimEvent): void {
    const { crowd } = this;
    if (event.type === "connected") crowd.up(event.agent, event.at);
    if (event.type === "dropped") crowd.down(event.agent);
    if (event.type === "offered") crowd.received(event.agent, event.receivedAt, event.digest);
    if (event.type === "refused") throw new Error(`${event.agent} refused: ${event.reason}`);
  }

  async #configure(): Promise<void> {
    if (existsSync(this.#file("hub.json"))) return;
    const ports = await freePorts(12_000, 3);
    const [api, link, identity] = ports.map((port) => `127.0.0.1:${port}`);
    writeFileSync(
      this.#file("hub.json"),
      JSON.stringify({
        data_dir: this.#file("hub"),
        ...{ api_listen: api, link_listen: link, identity_listen: identity },
        owner_token_file: this.#file("owner"),
        handshakes_per_second: HANDSHAKES_PER_SECOND,
        address_handshakes_per_second: HANDSHAKES_PER_SECOND,
      }),
    );
  }

  #offerProduct(): void {
    const key = this.#file("release-key.pem");
    if (existsSync(key)) return;
    const hub = [
      "--api",
      this.#api(),
      "--ca-file",
      this.#file("hub/ca.pem"),
      "--token-file",
      this.#file("owner"),
    ];
    const product = join(ROOT, "sim/product");
    const commands = [
      ["release", "key", "create", "--out", key],
      ["key", "set", "--key", key, ...hub],
      ["apply", "-f", join(product, "product.yaml"), ...hub],
      ["release", "publish", "-f", join(product, "release.yaml"), "--key", key, ...hub],
    ];
    for (const args of commands) execFileSync(join(ROOT, "holdfast"), args, { stdio: "ignore" });
  }

  #api(): string {
    const { api } = JSON.parse(readFileSync(this.#file("hub/endpoints.json"), "utf8")) as {
      api: string;
    };
    return `https://${api}`;
  }

  #file(name: string): string {
    return join(this.#home, name);
  }
}
