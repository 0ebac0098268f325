/** Simulated agents in their own processes against a whole hub: join, hold, refuse, report, come back. */
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { rawPublicKeyOf, signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SimEvent } from "../../sim/src/events.ts";
import { parseFaults } from "../../sim/src/faults.ts";
import { type SimFleet, type SimFleetOptions, startSimFleet } from "../../sim/src/fleet/fleet.ts";
import { SIM_PRODUCT } from "../../sim/src/fleet/offer.ts";
import { prepareHub } from "../e2e/prepared-hub.ts";
import { until } from "../e2e/until.ts";

const ROOT = join(import.meta.dirname, "../..");
const AGENTS = 12;
const home = mkdtempSync(join(tmpdir(), "hf-simtest-"));
const file = (name: string) => join(home, name);
const stateDir = file("state");
const fleets: SimFleet[] = [];
const hub = { process: undefined as ReturnType<typeof spawn> | undefined, api: "" };

async function startHub(): Promise<void> {
  rmSync(file("hub/endpoints.json"), { force: true });
  hub.process = spawn(join(ROOT, "holdfast-hub"), ["serve", "--config", file("hub.yaml")], {
    stdio: "ignore",
  });
  await until("the hub", () => existsSync(file("hub/endpoints.json")), 60_000);
  const said = JSON.parse(readFileSync(file("hub/endpoints.json"), "utf8")) as { api: string };
  hub.api = `https://${said.api.replace("127.0.0.1", "localhost")}`;
}

async function stopHub(signal: NodeJS.Signals): Promise<void> {
  const running = hub.process;
  if (running === undefined || running.exitCode !== null) return;
  const ended = new Promise((resolve) => running.once("exit", resolve));
  running.kill(signal);
  await ended;
}

const place = () => ["--ca-file", file("hub/ca.pem"), "--token-file", file("owner")];
const context = () => ({
  name: "",
  api: hub.api,
  caFile: file("hub/ca.pem"),
  tokenFile: file("owner"),
});

function fleet(options: Partial<SimFleetOptions> = {}) {
  const events: SimEvent[] = [];
  const running = startSimFleet({
    ...{ agents: AGENTS, processes: 2, context: context(), stateDir, wish: SIM_PRODUCT },
    pace: { usageMs: 200 },
    onEvent: (event) => void events.push(event),
    ...options,
  });
  fleets.push(running);
  const of = <Type extends SimEvent["type"]>(type: Type) =>
    events.filter((each): each is Extract<SimEvent, { type: Type }> => each.type === type);
  return { running, events, of };
}

beforeAll(async () => {
  const config = {
    data_dir: file("hub"),
    api_listen: "127.0.0.1:0",
    link_listen: "127.0.0.1:0",
    identity_listen: "127.0.0.1:0",
    owner_token_file: file("owner"),
  };
  writeFileSync(file("hub.yaml"), JSON.stringify(config));
  await prepareHub({ hub: { data: file("hub") } });
  await startHub();
  execFileSync(join(ROOT, "holdfast"), ["release", "key", "create", "--out", file("key.pem")], {
    stdio: "ignore",
  });
});

afterAll(async () => {
  await Promise.all(fleets.map((each) => each.stop()));
  await stopHub("SIGTERM");
  rmSync(home, { recursive: true, force: true });
});

describe("a simulated fleet", () => {
  it("offers its product, joins, takes a different signed assignment each, and ends, by one command", async () => {
    const args = [
      ...["fleet", "--agents", String(AGENTS), "--processes", "2", "--state", stateDir],
      ...["--hub", hub.api, ...place(), "--release-key", file("key.pem")],
      ...["--json", "--seed", "1"],
    ];
    const command = spawn(join(ROOT, "holdfast-sim"), args, {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = new Promise((resolve) => command.once("exit", resolve));
    let said = "";
    command.stdout.on("data", (data: Buffer) => {
      said += data.toString("utf8");
    });
    const of = (type: SimEvent["type"]) => {
      const lines = said.slice(0, said.lastIndexOf("\n") + 1).split("\n");
      const events = lines.flatMap((line) => (line === "" ? [] : [JSON.parse(line) as SimEvent]));
      return events.filter((each) => each.type === type);
    };
    await until("an offer for each", () => of("offered").length === AGENTS, 90_000);
    command.kill("SIGINT");
    expect(await ended).toBe(0);
    expect(of("connected")).toHaveLength(AGENTS);
    const offered = of("offered").filter((each) => each.type === "offered");
    expect(new Set(offered.map(({ digest }) => digest)).size).toBe(AGENTS);
    for (const { at, receivedAt } of offered) expect(at).toBeGreaterThanOrEqual(receivedAt);
    expect([...of("dropped"), ...of("refused")]).toEqual([]);
  });

  it("keeps its identities, private, and joins nobody twice", async () => {
    const kept = readdirSync(stateDir);
    expect(kept).toHaveLength(AGENTS);
    for (const each of kept) expect(statSync(join(stateDir, each)).mode & 0o077).toBe(0);
    const before = readFileSync(join(stateDir, kept[0] ?? ""), "utf8");
    const { running, of } = fleet();
    await running.prepare();
    expect(readFileSync(join(stateDir, kept[0] ?? ""), "utf8")).toBe(before);
    running.connect();
    await until("all are connected", () => of("connected").length === AGENTS);
    await running.stop();
  });

  it("is ready and measured in the hub's eyes, and comes back after its kill -9", async () => {
    const { running, of } = fleet();
    await running.prepare();
    running.connect();
    const instances = () => {
      const said = execFileSync(
        join(ROOT, "holdfast"),
        ["get", "instances", "-o", "json", "--api", hub.api, ...place()],
        { encoding: "utf8" },
      );
      const { items } = JSON.parse(said) as { items: readonly Json[] };
      return items;
    };
    const isTrue = (instance: Json, type: string) =>
      instance.status?.conditions?.some((each) => each.type === type && each.status === "True");
    await until("every instance is ready and measured", () => {
      const seen = instances();
      return (
        seen.length === AGENTS &&
        seen.every((each) => ["Ready", "InSync", "Metered"].every((type) => isTrue(each, type)))
      );
    });
    await until("usage was accepted", () => of("acknowledged").length > AGENTS);
    const ports = JSON.parse(readFileSync(file("hub/endpoints.json"), "utf8")) as Ports;
    await stopHub("SIGKILL");
    await until("all sessions are dropped", () => of("dropped").length === AGENTS);
    const config = JSON.parse(readFileSync(file("hub.yaml"), "utf8"));
    const same = {
      api_listen: ports.api,
      link_listen: ports.link,
      identity_listen: ports.identity,
    };
    writeFileSync(file("hub.yaml"), JSON.stringify({ ...config, ...same }));
    await startHub();
    await until("all are back", () => of("connected").length === 2 * AGENTS, 60_000);
    expect(of("offered")).toHaveLength(AGENTS);
    await running.stop();
  });

  it("forgets, flaps and fails where it is told to", async () => {
    const { running, of } = fleet({ faults: parseFaults(["forget=4s", "fail=50%"]), seed: 7 });
    await running.prepare();
    running.connect();
    await until("offers come again", () => of("offered").length >= 2 * AGENTS, 90_000);
    // Who comes back this fast may meet a session of its own that the hub, when busy, opened late.
    const own = "a newer session of this agent took its place";
    expect(of("dropped").filter(({ message }) => !message.endsWith(own))).toEqual([]);
    await running.stop();
  });

  it("refuses what another key has signed", async () => {
    const forged = file("forged");
    execFileSync("cp", ["-r", stateDir, forged]);
    for (const each of readdirSync(forged)) {
      const path = join(forged, each);
      const identity = JSON.parse(readFileSync(path, "utf8")) as { keySets: string[] };
      const keySets = identity.keySets.map(ofAnotherKey);
      writeFileSync(path, JSON.stringify({ ...identity, keySets }), { mode: 0o600 });
    }
    const { running, of } = fleet({ stateDir: forged, agents: 2 });
    await running.prepare();
    running.connect();
    await until("the offers are judged", () => of("refused").length + of("offered").length >= 2);
    expect(of("offered")).toEqual([]);
    expect(new Set(of("refused").map(({ reason }) => reason))).toEqual(new Set(["UNKNOWN_KEY"]));
    await running.stop();
  });

  it("tells which agent could not be prepared, and why", async () => {
    const { running } = fleet({ wish: { ...SIM_PRODUCT, product: "nothing" }, agents: 1 });
    await expect(running.prepare()).rejects.toThrow(/NOT_FOUND|nothing/);
    await running.stop();
  });
});

/** The same set with other keys: what an agent would pin that had joined another hub. */
function ofAnotherKey(envelope: string): string {
  const { payload } = fromBinary(EnvelopeSchema, Buffer.from(envelope, "base64"));
  const set = fromBinary(KeySetSchema, payload);
  const key = signingKey(randomBytes(32));
  const publicKey = rawPublicKeyOf(key.privateKey);
  set.keys = set.keys.map((each) => ({ ...each, keyId: key.keyId, publicKey }));
  const forged = signEnvelope("keyset", toBinary(KeySetSchema, set), [key]);
  return Buffer.from(toBinary(EnvelopeSchema, forged)).toString("base64");
}

type Ports = Readonly<{ api: string; link: string; identity: string }>;
type Json = Readonly<{
  status?: { conditions?: readonly { type: string; status: string }[] };
}>;
