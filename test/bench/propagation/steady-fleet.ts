/**
 * Agents that are connected and report steadily, beside the real ones of a bench's fleet: each on the real link with a
 * cell, an identity and an instance of its own. One change at a time is made to one of them, and timed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "@connectrpc/connect";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { uuidOf } from "@holdfast/shared/ids.ts";
import type { Fleet } from "../../../scripts/fleet/fleet.ts";
import type { SimEvent } from "../../../sim/src/events.ts";
import { agentNames, type SimFleet, startSimFleet } from "../../../sim/src/fleet/fleet.ts";
import { SIM_PRODUCT } from "../../../sim/src/fleet/offer.ts";
import { until } from "../../e2e/until.ts";
import type { ApiConnection } from "../connection.ts";
import { ROOT } from "../fleet.ts";
import { Crowd } from "../link/crowd.ts";
import { wallMs } from "../link/messages.ts";
import { LogLines } from "../log-lines.ts";

const PROCESSES = 2;
/** Usage, metrics and health once a minute, as real agents; and a status a minute, of which a real one has fewer. */
const REPORT_MS = 60_000;
const CONNECT_MS_PER_AGENT = 10;
const WAIT_MS_MAX = 240_000;
const ARRIVAL_MS_MAX = 30_000;
/** Until each has reported once, so that what is measured is steady. */
const SETTLE_MS = REPORT_MS;
const PREFIX = "sim";

/** ms, of one change. */
export type Arrival = Readonly<{ sinceCall: number; sinceCommit: number; answerMs: number }>;

export class SteadyFleet {
  readonly names: readonly string[];
  readonly #fleet: Fleet;
  readonly #client: Client<typeof InstanceService>;
  readonly #stateDir: string;
  readonly #crowd: Crowd;
  readonly #agents: SimFleet;
  readonly #hub: LogLines;
  #reports = 0;

  constructor(fleet: Fleet, connection: ApiConnection, home: string, agents: number) {
    this.names = agentNames(PREFIX, agents);
    this.#fleet = fleet;
    this.#client = connection.client(InstanceService);
    this.#stateDir = join(home, "agents");
    this.#crowd = new Crowd(agents);
    this.#hub = new LogLines(fleet.layout.hub.log);
    this.#agents = startSimFleet({
      ...{ agents, prefix: PREFIX, processes: PROCESSES, stateDir: this.#stateDir },
      context: {
        name: "",
        api: `https://${fleet.endpoints()?.api}`,
        caFile: fleet.layout.hub.ca,
        tokenFile: fleet.layout.hub.ownerToken,
      },
      wish: SIM_PRODUCT,
      pace: { usageMs: REPORT_MS, statusMs: REPORT_MS },
      onEvent: (event) => this.#take(event),
      onProgress: (prepared) => process.stderr.write(`\r${prepared} of ${agents} agents enrolled`),
    });
  }

  /** Sessions that were lost since the last call. */
  takeDropped(): number {
    return this.#crowd.takeDropped();
  }

  /** Batches of usage that the hub accepted so far. */
  get reports(): number {
    return this.#reports;
  }

  /** All are connected, hold their instances and report. */
  async start(): Promise<void> {
    const product = (file: string) => join(ROOT, "sim/product", file);
    const key = this.#fleet.layout.releaseKey;
    await this.#fleet.cli(["apply", "-f", product("product.yaml")]);
    await this.#fleet.cli(["release", "publish", "-f", product("release.yaml"), "--key", key]);
    await this.#agents.prepare();
    process.stderr.write("\n");
    this.#agents.connect(this.names.length * CONNECT_MS_PER_AGENT);
    await this.#crowd.allUp(WAIT_MS_MAX);
    await this.#crowd.allReceived(WAIT_MS_MAX);
    await sleep(SETTLE_MS);
    this.#crowd.takeDropped();
  }

  /** Changes the instance of one agent, and waits until that one has received it. */
  async change(name: string, note: string): Promise<Arrival> {
    const { instance } = await this.#client.getInstance({ instance: name });
    if (instance?.spec === undefined) throw new Error(`instance ${name} has no spec`);
    const parameters = { ...instance.spec.parameters, note };
    const agentId = this.#agentIdOf(name);
    this.#hub.read();
    this.#crowd.forgetReceived();
    const calledAt = wallMs();
    await this.#client.updateInstance({
      instance: { ...instance, spec: { ...instance.spec, parameters } },
    });
    const answerMs = wallMs() - calledAt;
    const receivedAt = await this.#crowd.receivedBy(name, ARRIVAL_MS_MAX);
    const committedAt = await until("the hub's log tells of the commit", () => {
      const lines = this.#hub.read();
      return lines.find(({ msg, agent }) => msg === "a wish may have changed" && agent === agentId)
        ?.time;
    });
    return { sinceCall: receivedAt - calledAt, sinceCommit: receivedAt - committedAt, answerMs };
  }

  stop(): Promise<void> {
    return this.#agents.stop();
  }

  #agentIdOf(name: string): string {
    const file = readFileSync(join(this.#stateDir, `${name}.json`), "utf8");
    return uuidOf("agent", (JSON.parse(file) as { agentId: string }).agentId);
  }

  #take(event: SimEvent): void {
    if (event.type === "connected") this.#crowd.up(event.agent, event.at);
    if (event.type === "dropped") this.#crowd.down(event.agent);
    if (event.type === "offered") {
      this.#crowd.received(event.agent, event.receivedAt, event.digest);
    }
    if (event.type === "acknowledged") this.#reports += 1;
  }
}
