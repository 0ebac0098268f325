/**
 * The fleet of the kill loop: hub with its own PostgreSQL, two agents, two instances of the ETL example, sources that go
 * on growing; a proxy between agents and hub, and one agent at the end of a cable of its own where that is allowed.
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { openStoreToRead } from "../../../agent/src/store/database.ts";
import { compare } from "../../../examples/etl/src/compare.ts";
import { Fleet } from "../../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../../scripts/fleet/layout.ts";
import { freePorts } from "../../../scripts/fleet/ports.ts";
import { bringUp, takeDown } from "../../../scripts/fleet/setup.ts";
import { type NetworkProxy, startProxy } from "../../../sim/src/break/proxy.ts";
import { prepareHub } from "../../e2e/prepared-hub.ts";
import { type Cable, layCable } from "./cable.ts";
import type { InstanceName, Wish } from "./plan.ts";

const ROOT = join(import.meta.dirname, "../../..");
/** Where the hub's own listeners are; the proxies have the same ports where agents look for them. */
const HIDDEN = "127.0.0.2";
export const SAMPLE_WINDOW_MS = 1_000;

export const PLACES = {
  "etl-free": { cell: "hosted", source: "free", tenant: undefined },
  etl: { cell: "byoa", source: "pro", tenant: "initech" },
} as const;
export const ACCOUNTS = { free: ["acme", "globex"], pro: ["initech"] } as const;
export const FIRST_ROWS = 500;

export type InstanceView = Readonly<{
  metadata: Readonly<{ id: string; name: string }>;
  status?: Readonly<{
    generation?: GenerationView;
    observedGeneration?: GenerationView;
    committedGeneration?: GenerationView;
    committedRelease?: string;
    conditions?: readonly Readonly<{
      type: string;
      status: string;
      reason: string;
      message: string;
    }>[];
    attempt?: Readonly<{
      state?: string;
      generation?: GenerationView;
      reason?: string;
      message?: string;
    }>;
  }>;
}>;
export type GenerationView = Readonly<{ incarnation?: string; number?: string }>;

export type World = Readonly<{
  fleet: Fleet;
  home: string;
  cable: Cable | undefined;
  /** Before the API; never made bad. */
  api: NetworkProxy | undefined;
  /** Before the agents' two listeners. */
  proxies: readonly NetworkProxy[];
  ids: Readonly<Record<InstanceName, string>>;
}>;

/** `home` must not be there yet. `say` gets what goes on, line by line. */
export async function startWorld(
  home: string,
  portsFrom: number,
  seed: number,
  say: (line: string) => void,
): Promise<World> {
  execFileSync(process.execPath, [join(ROOT, "examples/etl/build.ts")], { stdio: "ignore" });
  const laid = layCable((process.pid + seed) % 16_384);
  const cable = typeof laid === "string" ? undefined : laid;
  if (typeof laid === "string") say(`no network namespace for an agent, so no unplugging: ${laid}`);
  const env = { ...process.env, NO_COLOR: "1", HOLDFAST_AGENT_LOG_LEVEL: "debug" };
  mkdirSync(home, { recursive: true });
  const prefixOf = (name: string) => (name === "byoa" ? (cable?.prefix ?? []) : []);
  const fleet = new Fleet(layoutOf(ROOT, join(home, ".holdfast")), env, prefixOf);
  const host = cable?.host ?? "127.0.0.1";
  const ports = await freePorts(portsFrom, 3);
  writeHubConfig(fleet, host, ports);
  // The hub gives its public name out for the API too; that way stays good, since people are not what is tested.
  const [api, ...proxies] = await Promise.all(
    ports.map((port) =>
      startProxy({
        listen: { host, port },
        to: () => ({ host: HIDDEN, port }),
        seed,
        clock: systemClock,
        say: (line) => (port === ports[0] ? undefined : say(`proxy of ${port}: ${line}`)),
      }),
    ),
  );
  const options = { portsFrom, sampleWindowMs: SAMPLE_WINDOW_MS, say };
  try {
    await prepareHub(fleet.layout);
    await bringUp(fleet, options);
    const idOf = async (name: InstanceName) => (await viewOf(fleet, name)).metadata.id;
    const ids = { "etl-free": await idOf("etl-free"), etl: await idOf("etl") };
    return { fleet, home, cable, api, proxies, ids };
  } catch (error) {
    await endWorld({ fleet, cable, api, proxies });
    throw error;
  }
}

export async function endWorld(
  world: Pick<World, "fleet" | "cable" | "api" | "proxies">,
): Promise<void> {
  try {
    await takeDown(world.fleet);
  } finally {
    await Promise.all([world.api, ...world.proxies].map((proxy) => proxy?.stop()));
    world.cable?.remove();
  }
}

function writeHubConfig(fleet: Fleet, host: string, ports: readonly number[]): void {
  const { hub } = fleet.layout;
  const [api, link, identity] = ports;
  const config = {
    data_dir: hub.data,
    api_listen: `${HIDDEN}:${api}`,
    link_listen: `${HIDDEN}:${link}`,
    identity_listen: `${HIDDEN}:${identity}`,
    public_host: host === "127.0.0.1" ? "localhost" : host,
    vendor: "nimbus",
    owner_token_file: hub.ownerToken,
  };
  if (!existsSync(hub.config)) writeFileSync(hub.config, `${JSON.stringify(config, null, 2)}\n`);
}

const whose = (name: InstanceName): readonly string[] => {
  const { tenant } = PLACES[name];
  return tenant === undefined ? [] : ["--tenant", tenant];
};

export async function viewOf(fleet: Fleet, name: InstanceName): Promise<InstanceView> {
  return JSON.parse(await fleet.cli(["get", "instance", name, ...whose(name), "-o", "json"]));
}

export function manifestOf(fleet: Fleet, name: InstanceName, wish: Wish): string {
  const { cell, source, tenant } = PLACES[name];
  const place = tenant === undefined ? { name } : { name, tenant };
  const plan = tenant === undefined ? { plan: "free" } : { plan: "pro", subscription: "etl" };
  return JSON.stringify({
    apiVersion: "holdfast/v1",
    kind: "Instance",
    metadata: place,
    spec: {
      ...{ product: "etl", release: wish.release, ...plan, environment: "production", cell },
      parameters: { source: fleet.layout.source(source).file, pollMs: wish.pollMs },
      runState: wish.isRunning ? "RUN_STATE_RUNNING" : "RUN_STATE_STOPPED",
    },
  });
}

export function directoryOf({ fleet, ids }: World, name: InstanceName): string {
  const { state } = fleet.layout.agent(PLACES[name].cell);
  return join(state, "instances", ids[name].replace("ins_", ""));
}

type SeatFile = Readonly<{
  seats: readonly Readonly<{ seat: string; name: string; reserved: boolean }>[];
}>;

/** Source and destination of one instance, row by row. */
export async function comparisonOf(world: World, name: InstanceName) {
  const directory = directoryOf(world, name);
  const { seats } = JSON.parse(readFileSync(join(directory, "seats.json"), "utf8")) as SeatFile;
  return await compare({
    source: world.fleet.layout.source(PLACES[name].source).file,
    destination: join(directory, "data", "warehouse.db"),
    seats: seats.map(({ seat, name: title, reserved }) => ({ id: seat, name: title, reserved })),
  });
}

/** Rows on the hub's ledger, by seat. */
export async function billedRows(fleet: Fleet): Promise<Readonly<Record<string, number>>> {
  const answer = JSON.parse(await fleet.cli(["usage", "--meter", "rows", "-o", "json"])) as {
    lines?: readonly { seat: string; quantity: string }[];
    items?: readonly { seat: string; quantity: string }[];
  };
  const lines = answer.lines ?? answer.items ?? [];
  return Object.fromEntries(lines.map(({ seat, quantity }) => [seat, Number(quantity)]));
}

/** Steps of attempts that have not ended, in the journal of a cell's agent. */
export function journalRows({ fleet }: World, cell: string): number {
  const store = openStoreToRead(join(fleet.layout.agent(cell).state, "agent.db"));
  try {
    return Number(store?.get<{ n: bigint }>("select count(*) as n from journal")?.n ?? -1n);
  } finally {
    store?.close();
  }
}
