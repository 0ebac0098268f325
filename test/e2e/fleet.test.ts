/**
 * The whole thing on real processes, through the real command lines: a hub with its own PostgreSQL, two
 * agents, the ETL example for three tenants; upgrades, a release that never gets ready, and the plug pulled
 * from hub, agent, database and workload. The steps build on each other, as they would for a newcomer.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { running, startTimeOf } from "../../scripts/fleet/processes.ts";
import { bringUp, manifestPath, takeDown } from "../../scripts/fleet/setup.ts";
import { deletionFacts } from "./deletion.ts";
import { dependencyFacts } from "./dependencies.ts";
import { prepareHub } from "./prepared-hub.ts";
import { shownVersion, startProber } from "./prober.ts";
import { settledRows } from "./settled-rows.ts";
import { until } from "./until.ts";

const LOG_LINES_MAX = 40;

const root = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "holdfast-e2e-"));
const fleet = new Fleet(layoutOf(root, join(home, ".holdfast")), {
  ...process.env,
  NO_COLOR: "1",
});

type Json = { [key: string]: unknown };
type InstanceView = {
  metadata: { id: string; name: string; tenant?: string; deleteTime?: string };
  status?: {
    committedRelease?: string;
    conditions?: { type: string; status: string; reason: string; message: string }[];
    attempt?: { id: string; state: string; message: string; releaseVersion: string };
    history?: { id: string; state: string; releaseVersion: string }[];
    outputs?: { url?: string };
  };
};

async function instance(name: string, tenant?: string): Promise<InstanceView> {
  const whose = tenant === undefined ? [] : ["--tenant", tenant];
  return JSON.parse(await fleet.cli(["get", "instance", name, ...whose, "-o", "json"]));
}

/** Directory of an instance on its agent's host. */
async function directoryOf(cell: string, name: string, tenant?: string): Promise<string> {
  const { metadata } = await instance(name, tenant);
  const { state } = fleet.layout.agent(cell);
  return join(state, "instances", metadata.id.replace("ins_", ""));
}

/** Pids of the workload's copies of one instance, from the marks that the driver leaves. */
function workloadPids(instanceId: string): number[] {
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

const version = (directory: string) => shownVersion(join(directory, "outputs.json"));

let free: { id: string; directory: string };
let pro: { id: string; directory: string };

const options = { portsFrom: 10_000 + (process.pid % 5_000) * 3, sampleWindowMs: 1_000 };

beforeAll(async () => {
  execFileSync(process.execPath, [join(root, "examples/etl/build.ts")]);
  await prepareHub(fleet.layout);
  await bringUp(fleet, { ...options, say: () => undefined });
  free = {
    id: (await instance("etl-free")).metadata.id,
    directory: await directoryOf("hosted", "etl-free"),
  };
  pro = {
    id: (await instance("etl", "initech")).metadata.id,
    directory: await directoryOf("byoa", "etl", "initech"),
  };
});

/** A failure in CI has nothing but this to tell what went on. */
afterEach(({ task }) => {
  if (task.result?.state !== "fail") return;
  const logs = join(fleet.layout.home, "logs");
  for (const file of ["hub.log", "agent-hosted.log", "agent-byoa.log"]) {
    const lines = readFileSync(join(logs, file), "utf8").split("\n");
    const told = lines.filter((line) => !line.includes('"code":"OK"')).slice(-LOG_LINES_MAX);
    console.error(`${file}:\n${told.join("\n")}`);
  }
});

afterAll(async () => {
  await takeDown(fleet);
  rmSync(home, { recursive: true, force: true });
});

describe("a running fleet", () => {
  it("serves release 1.0.0 in both cells", async () => {
    expect(await version(free.directory)).toBe("1.0.0");
    expect(await version(pro.directory)).toBe("1.0.0");
    const { status } = await instance("etl-free");
    expect(status?.committedRelease).toBe("1.0.0");
    expect(status?.conditions).toContainEqual(
      expect.objectContaining({ type: "Ready", status: "True" }),
    );
  });

  it("shows each tenant its own seats and nothing else", async () => {
    const seats = async (context: string) => {
      const answer = await fleet.cli(["--context", context, "get", "seats", "-o", "json"]);
      return answer;
    };
    const acme = await seats("acme");
    expect(acme).toContain("acme");
    for (const foreign of ["globex", "initech", free.id, pro.id])
      expect(acme).not.toContain(foreign);
    expect(await fleet.cli(["--context", "acme", "get", "instances", "-o", "name"])).toBe("");
    const initech = await fleet.cli(["--context", "initech", "get", "instances", "-o", "name"]);
    expect(initech.trim().split("\n")).toHaveLength(1);
  });

  it("keeps its secrets out of logs and arguments, and in files of their owner", () => {
    const { home, hub, tokens, releaseKey, context } = fleet.layout;
    const key = join(hub.data, "hub.key");
    const tokenFiles = readdirSync(tokens).map((name) => join(tokens, name));
    const secrets = [...tokenFiles, key].map((file) => readFileSync(file, "utf8").trim());
    const logs = readdirSync(join(home, "logs")).map((name) => join(home, "logs", name));
    const said = logs.map((file) => readFileSync(file, "utf8")).join("\n");
    const args = execFileSync("ps", ["-eww", "-o", "args="], { encoding: "utf8" });
    for (const secret of secrets) {
      expect(secret.length).toBeGreaterThan(32);
      expect(said.includes(secret)).toBe(false);
      expect(args.includes(secret)).toBe(false);
    }
    const stores = ["hosted", "byoa"].map((name) =>
      join(fleet.layout.agent(name).state, "agent.db"),
    );
    for (const file of [...tokenFiles, ...logs, ...stores, key, releaseKey, context]) {
      expect([file, statSync(file).mode & 0o077]).toEqual([file, 0]);
    }
    expect(statSync(home).mode & 0o077).toBe(0);
  });

  it("answers an absent and a foreign instance alike", async () => {
    const absent = pro.id.replace(/.{4}$/, "0000");
    const answers = await Promise.all(
      [pro.id, absent].map((id) => fleet.tryCli(["--context", "acme", "get", "instance", id])),
    );
    expect(answers.map(({ code }) => code)).toEqual([3, 3]);
    const [foreign, missing] = answers.map(({ stderr }, index) =>
      stderr.replaceAll(index === 0 ? pro.id : absent, "ID"),
    );
    expect(foreign).toBe(missing);
  });

  it("lists instances for plain curl and for buf curl by reflection", async () => {
    const { hub } = fleet.layout;
    const api = fleet.endpoints()?.api ?? "";
    const token = readFileSync(hub.ownerToken, "utf8").trim();
    const service = "holdfast.api.v1.InstanceService/ListInstances";
    const curl = execFileSync("curl", [
      ...["--silent", "--show-error", "--fail-with-body", "--cacert", hub.ca],
      ...["--header", `Authorization: Bearer ${token}`],
      ...["--header", "Content-Type: application/json", "--data", "{}"],
      `https://${api}/${service}`,
    ]);
    const names = (json: Buffer) =>
      (JSON.parse(json.toString()) as { instances: InstanceView[] }).instances
        .map(({ metadata }) => metadata.name)
        .sort();
    expect(names(curl)).toEqual(["etl", "etl-free"]);
    const buf = execFileSync(join(root, "node_modules/.bin/buf"), [
      ...["curl", "--cacert", hub.ca, "--protocol", "grpc"],
      ...["--header", `Authorization: Bearer ${token}`],
      ...["--reflect-header", `Authorization: Bearer ${token}`],
      ...["--data", "{}", `https://${api}/${service}`],
    ]);
    expect(names(buf)).toEqual(["etl", "etl-free"]);
  });
});

describe("an upgrade", () => {
  it("switches to 1.1.0 without one failed request", async () => {
    const probers = [free, pro].map(({ directory }) =>
      startProber(join(directory, "outputs.json")),
    );
    await fleet.cli(["apply", "-f", manifestPath(fleet, "1.1.0"), "--wait", "--timeout", "60s"]);
    await until("1.1.0 answers in both cells", async () => {
      const versions = [await version(free.directory), await version(pro.directory)];
      return versions.every((each) => each === "1.1.0");
    });
    await until("only one copy is left", () => workloadPids(free.id).length === 1);
    for (const probe of await Promise.all(probers.map((stop) => stop()))) {
      expect(probe.failures).toEqual([]);
      expect(probe.requests).toBeGreaterThan(10);
      expect(probe.versions).toEqual(["1.0.0", "1.1.0"]);
    }
  });

  it("that never gets ready returns by itself and is held", async () => {
    const before = workloadPids(free.id);
    const stop = startProber(join(free.directory, "outputs.json"));
    const applied = await fleet.tryCli([
      ...["apply", "-f", manifestPath(fleet, "1.2.0"), "--wait", "--timeout", "90s"],
    ]);
    expect(applied.code).toBe(7);
    expect(applied.stderr).toMatch(/next: /);
    const { status } = await until("the attempt was returned", async () => {
      const seen = await instance("etl-free");
      return seen.status?.attempt?.state === "ATTEMPT_STATE_RETURNED" ? seen : undefined;
    });
    expect(status?.committedRelease).toBe("1.1.0");
    expect(status?.attempt?.releaseVersion).toBe("1.2.0");
    expect(status?.attempt?.message).not.toBe("");
    const probe = await stop();
    expect(probe.failures).toEqual([]);
    expect(probe.versions).toEqual(["1.1.0"]);
    expect(workloadPids(free.id)).toEqual(before);
  });

  it("is explained in one screen on the agent's host, hub or no hub", async () => {
    const { state } = fleet.layout.agent("hosted");
    const why = await fleet.agent("why", "etl-free", "--state", state);
    expect(why).toContain("1.2.0");
    expect(why).toContain("1.1.0");
    expect(why).toMatch(/ready/i);
  });

  it("is tried once more when somebody asks for it, and both tries are told", async () => {
    const { attempt: first } = (await instance("etl-free")).status ?? {};
    await fleet.cli(["instance", "retry", "etl-free", "--wait", "--timeout", "60s"]);
    const { status } = await until("the second attempt was returned", async () => {
      const seen = await instance("etl-free");
      const { id, state } = seen.status?.attempt ?? {};
      return id !== first?.id && state === "ATTEMPT_STATE_RETURNED" ? seen : undefined;
    });
    expect(status?.attempt?.releaseVersion).toBe("1.2.0");
    expect(status?.history?.map(({ state, releaseVersion }) => [state, releaseVersion])).toEqual([
      ["ATTEMPT_STATE_RETURNED", "1.2.0"],
      ["ATTEMPT_STATE_COMMITTED", "1.1.0"],
      ["ATTEMPT_STATE_COMMITTED", "1.0.0"],
    ]);
    const why = await fleet.cli(["instance", "why", "etl-free"]);
    expect(why).toMatch(
      /^before +1\.2\.0, generation \d\.\d+, returned .* ago: (NOT_READY|READY_DEADLINE): /m,
    );
    expect(await fleet.cli(["describe", "instance", "etl-free"])).toContain("Attempts before");
  });

  it("does not keep another start from going on with the rest", async () => {
    const lines: string[] = [];
    await bringUp(fleet, { ...options, say: (line) => void lines.push(line) });
    expect(lines.join("\n")).toContain("ROLLED_BACK: instance/etl-free");
    expect((await instance("etl-free")).status?.committedRelease).toBe("1.1.0");
  });

  it("goes back to what serves when that is asked for", async () => {
    await fleet.cli(["apply", "-f", manifestPath(fleet, "1.1.0"), "--wait", "--timeout", "60s"]);
    const { status } = await instance("etl-free");
    expect(status?.committedRelease).toBe("1.1.0");
  });
});

describe("with the plug pulled", () => {
  it("workloads go on without the hub, and one that crashes comes back", async () => {
    await fleet.stopHub("SIGKILL");
    const [pid] = workloadPids(free.id);
    if (pid === undefined) throw new Error("no workload");
    process.kill(pid, "SIGKILL");
    await until("the workload is back under another pid", async () => {
      const [next] = workloadPids(free.id);
      return next !== undefined && next !== pid && (await version(free.directory)) === "1.1.0";
    });
    expect(running(fleet.layout.processes, "hub")).toBeUndefined();
    await fleet.startHub();
    await until("both agents are connected again", async () => {
      const agents = JSON.parse(await fleet.cli(["get", "agents", "-o", "json"])) as {
        items?: InstanceView[];
        agents?: InstanceView[];
      };
      const seen = agents.items ?? agents.agents ?? [];
      return (
        seen.length === 2 &&
        seen.every(({ status }) =>
          status?.conditions?.some((each) => each.type === "Connected" && each.status === "True"),
        )
      );
    });
  });

  it("an agent killed and started again adopts what runs and restarts nothing", async () => {
    const before = workloadPids(pro.id);
    await fleet.stopAgent("byoa", "SIGKILL");
    expect(workloadPids(pro.id)).toEqual(before);
    await fleet.startAgent("byoa", { sample_window_ms: 1_000 }, () => {
      throw new Error("the agent has joined before");
    });
    await fleet.cli(["apply", "-f", manifestPath(fleet, "1.1.0"), "--wait", "--timeout", "60s"]);
    await until("the agent says it is ready", async () => {
      const { status } = await instance("etl", "initech");
      return status?.conditions?.some((each) => each.type === "Ready" && each.status === "True");
    });
    expect(workloadPids(pro.id)).toEqual(before);
  });

  it("the database killed comes back under the hub by itself", async () => {
    const postmaster = await until("the postmaster's pid", () =>
      postmasterPid(fleet.layout.hub.data),
    );
    process.kill(postmaster, "SIGKILL");
    await until("the API answers again", async () => {
      const answer = await fleet.tryCli(["get", "instances", "-o", "name"]);
      return answer.code === 0 && answer.stdout.trim().split("\n").length === 2;
    });
    const next = await until("another postmaster", () => postmasterPid(fleet.layout.hub.data));
    expect(next).not.toBe(postmaster);
  });
});

describe("usage and rows", () => {
  it("are exact after all of that", async () => {
    await Promise.all([fleet.stopSource("free"), fleet.stopSource("pro")]);
    const settled = await Promise.all([
      settledRows(fleet, "free", free.directory),
      settledRows(fleet, "pro", pro.directory),
    ]);
    const counted = Object.assign({}, ...settled) as Record<string, number>;
    await until("the hub has every row on its ledger", async () => {
      const answer = JSON.parse(
        await fleet.cli(["usage", "--meter", "rows", "-o", "json"]),
      ) as Json;
      const lines = (answer["lines"] ?? answer["items"] ?? []) as {
        seat: string;
        tenant?: string;
        quantity: string;
      }[];
      const billed = Object.fromEntries(
        lines.map(({ seat, quantity }) => [seat, Number(quantity)]),
      );
      expect(billed).toEqual(counted);
      expect(lines.map(({ tenant }) => tenant).sort()).toEqual(["acme", "globex", "initech"]);
      return true;
    });
  });

  it("are shown to each tenant for itself alone", async () => {
    const acme = await fleet.cli(["--context", "acme", "usage", "-o", "json"]);
    expect(acme).toContain("acme");
    expect(acme).not.toContain("globex");
    expect(acme).not.toContain("initech");
  });
});

describe("instances that take from each other", () => dependencyFacts(fleet, home));

describe("the end", () => {
  it("of an instance removes what runs and keeps its data", async () => {
    await fleet.cli(["delete", "instance", "etl", "--tenant", "initech", "--yes", "--wait"]);
    const gone = await fleet.tryCli(["get", "instance", "etl", "--tenant", "initech"]);
    expect(gone.code).toBe(3);
    expect(workloadPids(pro.id)).toEqual([]);
    expect(existsSync(join(pro.directory, "data", "warehouse.db"))).toBe(true);
    expect(existsSync(join(pro.directory, "run"))).toBe(false);
  });

  deletionFacts(fleet, home, () => ({ ...pro, isRunning: workloadPids(pro.id).length > 0 }));

  it("of the fleet leaves no process behind", async () => {
    await takeDown(fleet);
    const left = readdirSync("/proc").filter((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, "utf8").includes(home);
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
    expect(workloadPids(free.id)).toEqual([]);
  });
});

function postmasterPid(hubData: string): number | undefined {
  const file = readdirSync(hubData, { recursive: true })
    .map(String)
    .find((each) => each.endsWith("postmaster.pid"));
  if (file === undefined) return undefined;
  const pid = Number(readFileSync(join(hubData, file), "utf8").split("\n")[0]);
  return startTimeOf(pid) === undefined ? undefined : pid;
}
