/**
 * How long a change takes from the API call to the new process that serves, and where the time goes. "Our part" is
 * all of it but the program's own start: from its spawn until it says itself that it is ready. Meanwhile many other
 * agents are connected and report steadily, and how soon a commit is at one of those is measured as well.
 *
 * HOLDFAST_BENCH_AGENTS: how many, instead of 1000.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "@connectrpc/connect";
import { type Instance, InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { AttemptState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { freePorts } from "../../scripts/fleet/ports.ts";
import { until } from "../e2e/until.ts";
import { type ApiConnection, connect } from "./connection.ts";
import { type BenchResult, machine, quantile, rounded, spread } from "./figures.ts";
import { withFleet } from "./fleet.ts";
import { LEGS, type Legs, legsOf } from "./legs.ts";
import { LogLines, parsed } from "./log-lines.ts";
import {
  type Arrivals,
  arrivalFigures,
  arrivalRatios,
  arrivalYardsticks,
  measureArrivals,
} from "./propagation/arrivals.ts";
import { SteadyFleet } from "./propagation/steady-fleet.ts";
import { bareStartMs, fsyncMs, type Program, programOf } from "./yardsticks.ts";

const AGENTS = 1_000;
const CHANGES = 40;
/** Code that runs for the first time is slower; nobody waits for it twice. */
const WARM_UP_CHANGES = 3;
const OUR_PART_TARGET_MS = 150;
const COMMIT_TO_AGENT_TARGETS_MS = { p50: 20, p99: 100 } as const;
const CELL = "byoa";
const WHOSE = { instance: "etl", tenant: "initech" } as const;

type Change = Readonly<{ legs: Legs; answerMs: number; bareStartMs: number; fsyncMs: number }>;

export function bench(): Promise<BenchResult> {
  const agents = Number(process.env["HOLDFAST_BENCH_AGENTS"] ?? AGENTS);
  return withFleet({ logLevel: "debug", sampleWindowMs: 60_000 }, async (fleet, home) => {
    const connection = connect(fleet);
    const steady = new SteadyFleet(fleet, connection, home, agents);
    try {
      await steady.start();
      const arrivals = await measureArrivals(fleet, steady, home);
      const changes = await changesOf(fleet, connection, home);
      return resultOf(agents, changes, arrivals);
    } finally {
      await steady.stop();
      connection.close();
    }
  });
}

async function changesOf(
  fleet: Fleet,
  connection: ApiConnection,
  home: string,
): Promise<readonly Change[]> {
  const world = await worldOf(fleet, connection.client(InstanceService), home);
  const changes: Change[] = [];
  for (let at = 0; at < WARM_UP_CHANGES + CHANGES; at++) {
    const change = await measure(world, 400 + at);
    if (at >= WARM_UP_CHANGES) changes.push(change);
    process.stderr.write(`\r${at + 1} of ${WARM_UP_CHANGES + CHANGES} changes`);
  }
  process.stderr.write("\n");
  return changes;
}

type World = Readonly<{
  client: Client<typeof InstanceService>;
  home: string;
  hub: LogLines;
  agent: LogLines;
  directory: string;
  instanceId: string;
  program: Program;
  port: number;
}>;

async function worldOf(
  fleet: Fleet,
  client: Client<typeof InstanceService>,
  home: string,
): Promise<World> {
  const { log, state } = fleet.layout.agent(CELL);
  const { metadata } = await present(client);
  const instanceId = metadata?.id ?? "";
  const directory = join(state, "instances", instanceId.replace("ins_", ""));
  const [copy = ""] = readdirSync(join(directory, "run"));
  const record = JSON.parse(readFileSync(join(directory, "run", copy, "record.json"), "utf8"));
  const [port = 0] = await freePorts(8_000, 1);
  return {
    ...{ client, home, directory, instanceId, port },
    hub: new LogLines(fleet.layout.hub.log),
    agent: new LogLines(log),
    program: programOf((record as { process: { pid: number } }).process.pid),
  };
}

async function present(client: Client<typeof InstanceService>): Promise<Instance> {
  const { instance } = await client.getInstance(WHOSE);
  if (instance === undefined) throw new Error("the instance is gone");
  return instance;
}

/** One change, then the yardsticks, when the old copy has gone. */
async function measure(world: World, batchRows: number): Promise<Change> {
  const { client, directory, instanceId, home, program, port } = world;
  const instance = await present(client);
  const { spec } = instance;
  if (spec === undefined) throw new Error("the instance has no spec");
  world.hub.read();
  world.agent.read();
  const request = {
    instance: { ...instance, spec: { ...spec, parameters: { ...spec.parameters, batchRows } } },
  };
  const calledAt = performance.timeOrigin + performance.now();
  const answer = await client.updateInstance(request);
  const answerMs = performance.timeOrigin + performance.now() - calledAt;
  const generation = formatGeneration(generationOf(answer.instance?.status?.generation));
  await until("the change has ended", async () => {
    const { status } = await present(client);
    const isLast = formatGeneration(generationOf(status?.attempt?.generation)) === generation;
    const isCommitted = status?.attempt?.state === AttemptState.COMMITTED;
    return isLast && isCommitted && readdirSync(join(directory, "run")).length === 1;
  });
  const [copy = ""] = readdirSync(join(directory, "run"));
  const legs = legsOf({
    ...{ calledAt, instanceId, generation },
    hub: world.hub.read(),
    agent: world.agent.read(),
    program: readFileSync(join(directory, "logs", `${copy}.log`), "utf8")
      .split("\n")
      .flatMap(parsed),
  });
  if (legs === undefined) throw new Error(`the logs do not tell all of generation ${generation}`);
  const places = { folder: join(home, "bare"), seatsFile: join(directory, "seats.json"), port };
  const bare = await bareStartMs(program, places);
  return { legs, answerMs, bareStartMs: bare, fsyncMs: fsyncMs(directory) };
}

const sum = (values: readonly number[]) => values.reduce((all, each) => all + each, 0);

function resultOf(agents: number, changes: readonly Change[], arrivals: Arrivals): BenchResult {
  const of = (legs: readonly (typeof LEGS)[number][]) =>
    changes.map((change) => sum(legs.map((leg) => change.legs[leg])));
  const untilReady = LEGS.slice(0, LEGS.indexOf("readiness_noticed") + 1);
  const untilServing = LEGS.slice(0, LEGS.indexOf("publish") + 1);
  const ours = (legs: readonly (typeof LEGS)[number][]) =>
    of(legs.filter((leg) => leg !== "program_own_start"));
  const bare = changes.map((change) => change.bareStartMs);
  const fsync = changes.map((change) => change.fsyncMs);
  const ourPart = quantile(ours(untilServing), 0.5);
  return {
    name: "propagation",
    machine: machine(),
    figures: {
      connected_agents: agents,
      ...arrivalFigures(arrivals),
      commit_to_agent_p50_target_ms: COMMIT_TO_AGENT_TARGETS_MS.p50,
      commit_to_agent_p99_target_ms: COMMIT_TO_AGENT_TARGETS_MS.p99,
      changes: changes.length,
      ...spread(
        "api_call_to_answer",
        changes.map(({ answerMs }) => answerMs),
      ),
      ...Object.assign({}, ...LEGS.map((leg) => spread(`leg_${leg}`, of([leg])))),
      ...spread("total_until_ready", of(untilReady)),
      ...spread("total_until_serving", of(untilServing)),
      ...spread("our_part_until_ready", ours(untilReady)),
      ...spread("our_part_until_serving", ours(untilServing)),
      our_part_target_ms: OUR_PART_TARGET_MS,
    },
    yardsticks: {
      ...arrivalYardsticks(arrivals),
      ...spread("bare_start", bare),
      ...spread("fsync_8_kib", fsync),
    },
    ratios: {
      ...arrivalRatios(arrivals),
      our_part_over_target: rounded(ourPart / OUR_PART_TARGET_MS),
      total_over_bare_start: rounded(quantile(of(untilServing), 0.5) / quantile(bare, 0.5)),
      our_part_over_fsync: rounded(ourPart / quantile(fsync, 0.5)),
    },
  };
}
