/**
 * One agent takes a cell over from another, on real processes: from one that is suspended with a backlog and wakes up
 * later, from one that is dead, in its own directory, from two that are copies of each other, from a directory where
 * nothing runs any more, and on another host. Workloads on the same host keep their pids, and usage stays exact.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { running, startTimeOf } from "../../scripts/fleet/processes.ts";
import { bringUp, takeDown } from "../../scripts/fleet/setup.ts";
import { prepareHub } from "./prepared-hub.ts";
import { settledRows } from "./settled-rows.ts";
import { until } from "./until.ts";

const LOG_LINES_MAX = 40;
/** Records of a few windows. */
const WAITING_MIN = 10;
const SETTINGS = { sample_window_ms: 1_000 };

const root = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "holdfast-takeover-"));
const FAR = "far";
const TWIN = "twin";
/** As another host is: it sees no process of this one. */
const [UNSHARE, ...ELSEWHERE] = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"];
const fleet = new Fleet(
  layoutOf(root, join(home, ".holdfast")),
  { ...process.env, NO_COLOR: "1" },
  (name) => (name === FAR ? [UNSHARE ?? "", ...ELSEWHERE] : []),
);

type ObjectView = {
  metadata: { id: string; name: string };
  spec?: { cell?: string };
  status?: {
    state?: string;
    conditions?: { type: string; status: string; reason: string }[];
    attempt?: { state?: string };
  };
};
type Instance = Readonly<{ id: string; directory: string }>;

let free: Instance;
let pro: Instance;

const view = async (...args: string[]): Promise<ObjectView> =>
  JSON.parse(await fleet.cli(["get", ...args, "-o", "json"]));
const stateOf = (name: string) => fleet.layout.agent(name).state;
const statusOf = (name: string) => fleet.agent("status", "--state", stateOf(name));

/** Its agent's directory is where its first agent put it. */
async function found(cell: string, ...args: string[]): Promise<Instance> {
  const { id } = (await view("instance", ...args)).metadata;
  return { id, directory: join(stateOf(cell), "instances", id.replace("ins_", "")) };
}

function pidsOf(instanceId: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
        return environment.includes(`HOLDFAST_INSTANCE=${instanceId}`) && startTimeOf(pid);
      } catch {
        return false;
      }
    });
}

/** Roles of the cell's agents, the first that joined first. */
async function rolesIn(cell: string): Promise<(string | undefined)[]> {
  const answer = JSON.parse(await fleet.cli(["get", "agents", "-o", "json"])) as {
    items?: ObjectView[];
    agents?: ObjectView[];
  };
  return (answer.items ?? answer.agents ?? [])
    .filter(({ spec }) => spec?.cell === cell)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map(({ status }) => status?.state);
}

/** `args` are for the enrolment, `whose` for the token. */
async function takeOver(
  cell: string,
  agent: string,
  { whose = [], args = [] }: Readonly<{ whose?: readonly string[]; args?: readonly string[] }> = {},
): Promise<string> {
  const { state, token } = fleet.layout.agent(agent);
  writeFileSync(token, await fleet.cli(["cell", "takeover", cell, ...whose]), { mode: 0o600 });
  const words = ["enroll", "--takeover", "--state", state, "--token-file", token, ...args];
  const program = join(root, "holdfast-agent");
  const said =
    agent === FAR
      ? execFileSync(UNSHARE ?? "", [...ELSEWHERE, program, ...words], { encoding: "utf8" })
      : await fleet.agent(...words);
  rmSync(token);
  await fleet.startAgent(agent, SETTINGS, () => Promise.reject(new Error("it has joined")));
  return said;
}

/** False where this machine lets nobody have processes of his own; CI has to. */
function hasElsewhere(): boolean {
  const isGiven = spawnSync(UNSHARE ?? "", [...ELSEWHERE, "true"]).status === 0;
  if (!isGiven) expect(process.env["CI"]).toBeUndefined();
  return isGiven;
}

const signal = (agent: string, name: NodeJS.Signals) => {
  const pid = running(fleet.layout.processes, `agent-${agent}`)?.pid;
  if (pid === undefined) throw new Error(`agent ${agent} does not run`);
  process.kill(pid, name);
};

const committedBy = (agent: string, instance: Instance) =>
  until(`${agent} looks after ${instance.id}`, async () => {
    const shown = JSON.parse(
      await fleet.agent("status", "--state", stateOf(agent), "-o", "json"),
    ) as { instances: { id: string; status: ObjectView["status"] }[] };
    const mine = shown.instances.find(({ id }) => id === instance.id);
    return mine?.status?.conditions?.some(
      ({ type, status }) => type === "Ready" && status === "CONDITION_STATUS_TRUE",
    );
  });

beforeAll(async () => {
  execFileSync(process.execPath, [join(root, "examples/etl/build.ts")]);
  const portsFrom = 10_000 + (process.pid % 5_000) * 3;
  await prepareHub(fleet.layout);
  await bringUp(fleet, { portsFrom, sampleWindowMs: 1_000, say: () => undefined });
  free = await found("hosted", "etl-free");
  pro = await found("byoa", "etl", "--tenant", "initech");
});

afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const logs = join(fleet.layout.home, "logs");
  for (const file of readdirSync(logs)) {
    const lines = readFileSync(join(logs, file), "utf8").split("\n");
    const told = lines.filter((line) => !line.includes('"code":"OK"')).slice(-LOG_LINES_MAX);
    console.error(`${file}:\n${told.join("\n")}`);
  }
});

afterAll(async () => {
  // The agent that has the claim ends the workloads; the one before it would be refused.
  for (const agent of [FAR, TWIN]) await fleet.stopAgent(agent, "SIGKILL");
  await fleet.stopAgent("hosted", "SIGKILL");
  await Promise.all([fleet.haltAgent("next"), fleet.haltAgent("after")]);
  await fleet.stopHub("SIGTERM");
  for (const cell of ["hosted", "byoa"]) rmSync(stateOf(cell), { recursive: true, force: true });
  await takeDown(fleet);
  rmSync(home, { recursive: true, force: true });
});

describe("a takeover on the same host", () => {
  let before: number[];

  it("is refused to an ordinary token, with the way named", async () => {
    const { code, stderr } = await fleet.tryCli(["cell", "token", "hosted"]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/CELL_TAKEN[\s\S]*next: holdfast cell takeover hosted/);
  });

  it("from a suspended agent with a backlog adopts its workloads as they run", async () => {
    before = pidsOf(free.id);
    expect(before).toHaveLength(1);
    await fleet.stopHub();
    await until("usage waits for the hub", async () => {
      const shown = await fleet.agent("status", "--state", stateOf("hosted"), "-o", "json");
      const { usageWaiting } = JSON.parse(shown) as { usageWaiting: string };
      return Number(usageWaiting) >= WAITING_MIN;
    });
    signal("hosted", "SIGSTOP");
    await fleet.startHub();
    const said = await takeOver("hosted", "next");
    expect(said).toContain(`workloads stay in ${stateOf("hosted")}`);
    await committedBy("next", free);
    expect(pidsOf(free.id)).toEqual(before);
    expect(await rolesIn("hosted")).toEqual(["AGENT_STATE_FENCED", "AGENT_STATE_ACTIVE"]);
  });

  it("leaves the old agent, once awake, nothing but to deliver its usage", async () => {
    signal("hosted", "SIGCONT");
    const shown = await until("the old agent has delivered its backlog", async () => {
      const text = await statusOf("hosted");
      return text.includes("all usage is delivered") ? text : undefined;
    });
    expect(shown).toContain("AGENT_FENCED since");
    const why = await fleet.agent("why", "etl-free", "--state", stateOf("hosted"));
    expect(why).toContain("ask the agent that has taken over");
    expect(pidsOf(free.id)).toEqual(before);
  });

  it("lets one agent alone bring a workload back", async () => {
    const [pid] = before;
    if (pid === undefined) throw new Error("no workload");
    process.kill(pid, "SIGKILL");
    await until("the workload is back, once", async () => {
      const now = pidsOf(free.id);
      return now.length === 1 && now[0] !== pid;
    });
    const log = readFileSync(fleet.layout.agent("hosted").log, "utf8");
    const fencedAt = log.indexOf("another agent has taken over this cell");
    expect(fencedAt).toBeGreaterThan(0);
    expect(log.slice(fencedAt)).not.toContain('"repair"');
  });

  it("stays so when the old agent is started again", async () => {
    await fleet.stopAgent("hosted");
    const now = pidsOf(free.id);
    await fleet.startAgent("hosted", SETTINGS, () => Promise.reject(new Error("it has joined")));
    await until("it says that it is fenced", async () =>
      (await statusOf("hosted")).includes("AGENT_FENCED"),
    );
    expect(pidsOf(free.id)).toEqual(now);
    await expect(fleet.agent("halt", "--state", stateOf("hosted"))).rejects.toThrow(/LOCKED/);
    await fleet.stopAgent("hosted");
    await expect(fleet.agent("halt", "--state", stateOf("hosted"))).rejects.toThrow(/AGENT_FENCED/);
    expect(pidsOf(free.id)).toEqual(now);
  });
});

describe("a takeover in the directory of a dead agent", () => {
  it("goes on with what it held, under a new name", async () => {
    const before = pidsOf(pro.id);
    await fleet.stopAgent("byoa", "SIGKILL");
    await takeOver("byoa", "byoa", { whose: ["--tenant", "initech"] });
    await committedBy("byoa", pro);
    await until("the hub sees the new agent", async () => {
      const roles = await rolesIn("byoa");
      return roles.length === 2 && roles[1] === "AGENT_STATE_ACTIVE";
    });
    expect(pidsOf(pro.id)).toEqual(before);
    expect(await statusOf("byoa")).not.toContain("AGENT_FENCED");
  });
});

describe("a copied directory", () => {
  it("makes two agents of one: both are refused until a takeover, and the workload goes on", async () => {
    const before = pidsOf(pro.id);
    await fleet.stopAgent("byoa");
    execFileSync("cp", ["--archive", stateOf("byoa"), stateOf(TWIN)]);
    for (const agent of ["byoa", TWIN]) {
      await fleet.startAgent(agent, SETTINGS, () => Promise.reject(new Error("it has joined")));
    }
    for (const agent of ["byoa", TWIN]) {
      await until(`${agent} says that its identity is frozen`, async () =>
        (await statusOf(agent)).includes("IDENTITY_FROZEN"),
      );
    }
    expect((await rolesIn("byoa")).at(-1)).toBe("AGENT_STATE_FROZEN");
    expect(pidsOf(pro.id)).toEqual(before);
    await Promise.all([fleet.stopAgent("byoa"), fleet.stopAgent(TWIN)]);
    await takeOver("byoa", "byoa", { whose: ["--tenant", "initech"] });
    await committedBy("byoa", pro);
    expect((await rolesIn("byoa")).at(-1)).toBe("AGENT_STATE_ACTIVE");
    expect(await statusOf("byoa")).not.toContain("IDENTITY_FROZEN");
    expect(pidsOf(pro.id)).toEqual(before);
  });
});

describe("a takeover from a directory where nothing runs any more", () => {
  it("starts the workloads on the data that is there", async () => {
    const before = pidsOf(pro.id);
    await fleet.haltAgent("byoa");
    expect(pidsOf(pro.id)).toEqual([]);
    const args = ["--from", stateOf("byoa")];
    await takeOver("byoa", "after", { whose: ["--tenant", "initech"], args });
    await committedBy("after", pro);
    const now = pidsOf(pro.id);
    expect(now).toHaveLength(1);
    expect(before).not.toContain(now[0]);
    // What it wrote before is what it goes on from: the rows are counted in the end, all of them and once.
    expect(readdirSync(stateOf("after"))).not.toContain("instances");
  });
});

it("usage is exact after all of these", async () => {
  await Promise.all([fleet.stopSource("free"), fleet.stopSource("pro")]);
  const settled = await Promise.all([
    settledRows(fleet, "free", free.directory),
    settledRows(fleet, "pro", pro.directory),
  ]);
  const counted = Object.assign({}, ...settled) as Record<string, number>;
  await until("the hub has every row on its ledger", async () => {
    const answer = JSON.parse(await fleet.cli(["usage", "--meter", "rows", "-o", "json"])) as {
      lines?: { seat: string; quantity: string }[];
      items?: { seat: string; quantity: string }[];
    };
    const lines = answer.lines ?? answer.items ?? [];
    const billed = Object.fromEntries(lines.map(({ seat, quantity }) => [seat, Number(quantity)]));
    expect(billed).toEqual(counted);
    return true;
  });
});

describe("a takeover on another host", () => {
  it("starts its own workloads and leaves those of the old host, until a person there ends them", async () => {
    if (!hasElsewhere()) return;
    const before = pidsOf(free.id);
    expect(before).toHaveLength(1);
    const said = await takeOver("hosted", FAR);
    expect(said).not.toContain("workloads stay");
    await committedBy(FAR, free);
    const both = pidsOf(free.id);
    expect(both).toEqual(expect.arrayContaining(before));
    expect(both).toHaveLength(2);
    await until("the agent of the old host says that it is fenced", async () =>
      (await statusOf("next")).includes("AGENT_FENCED"),
    );
    expect(await rolesIn("hosted")).toEqual([
      "AGENT_STATE_FENCED",
      "AGENT_STATE_FENCED",
      "AGENT_STATE_ACTIVE",
    ]);
    await fleet.haltAgent("next");
    expect(pidsOf(free.id)).toEqual(both.filter((pid) => !before.includes(pid)));
  });
});
