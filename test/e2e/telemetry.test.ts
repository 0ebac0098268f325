/**
 * What workloads print, from their files to the command line, on real processes: whole and once over kills of hub and
 * agent, counted where it is too much, and behind the wall.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { bringUp, takeDown } from "../../scripts/fleet/setup.ts";
import { prepareHub } from "./prepared-hub.ts";
import { until } from "./until.ts";

const root = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "holdfast-e2e-telemetry-"));
// A fleet's folder may have any name.
const fleet = new Fleet(layoutOf(root, join(home, "fleet")), {
  ...process.env,
  NO_COLOR: "1",
});
const options = { portsFrom: 26_000 + (process.pid % 500) * 3, sampleWindowMs: 1_000 };
const WRITE_MS = 5;

type Logs = Readonly<{
  lines: readonly { text: string }[];
  missing: readonly { count?: string; reason: string }[];
}>;

beforeAll(async () => {
  execFileSync(process.execPath, [join(root, "examples/etl/build.ts")]);
  await prepareHub(fleet.layout);
  await bringUp(fleet, { ...options, say: () => undefined });
});

afterAll(async () => {
  await takeDown(fleet);
  rmSync(home, { recursive: true, force: true });
});

/** The file that the instance's one copy writes to: what is appended here is its output. */
async function logOf(cell: string, name: string, whose: readonly string[]): Promise<string> {
  const text = await fleet.cli(["get", "instance", name, ...whose, "-o", "json"]);
  const { metadata } = JSON.parse(text) as { metadata: { id: string } };
  const hex = metadata.id.replace("ins_", "");
  const logs = join(fleet.layout.agent(cell).state, "instances", hex, "logs");
  const files = readdirSync(logs).filter((file) => file.endsWith(".log"));
  expect(files).toHaveLength(1);
  return join(logs, files[0] ?? "");
}

async function logs(name: string, word: string, whose: readonly string[] = []): Promise<Logs> {
  const asked = ["--grep", `${word} `, "--since", "1h", "-o", "json"];
  return JSON.parse(await fleet.cli(["logs", name, ...whose, ...asked]));
}

const numbers = ({ lines }: Logs) => lines.map(({ text }) => Number(text.split(" ")[1]));

describe("lines of a workload", () => {
  it("arrive whole, in order and once, over kills of hub and agent", async () => {
    const file = await logOf("hosted", "etl-free", []);
    let written = 0;
    const writing = setInterval(() => appendFileSync(file, `steady ${written++}\n`), WRITE_MS);
    const more = async (count: number) => {
      const goal = written + count;
      await until(`${count} more lines`, () => written >= goal);
    };
    await until(
      "the first lines",
      async () => (await logs("etl-free", "steady")).lines.length > 99,
    );
    await fleet.stopHub("SIGKILL");
    await more(200);
    await fleet.startHub();
    await until("lines from after the hub's return", async () => {
      const seen = numbers(await logs("etl-free", "steady"));
      return (seen.at(-1) ?? 0) > 500;
    });
    await fleet.stopAgent("hosted", "SIGKILL");
    await more(200);
    await fleet.startAgent("hosted", { sample_window_ms: 1_000 }, () => {
      throw new Error("the agent has joined before");
    });
    await more(100);
    clearInterval(writing);
    await until("the last line", async () => {
      return numbers(await logs("etl-free", "steady")).at(-1) === written - 1;
    });
    const seen = await logs("etl-free", "steady");
    expect(numbers(seen)).toEqual(Array.from({ length: written }, (_, n) => n));
    expect(seen.missing).toEqual([]);
  });

  it("that come too fast are told up to the rate and counted beyond it, and usage goes on", async () => {
    const whose = ["--tenant", "initech"];
    const file = await logOf("byoa", "etl", whose);
    const count = 100_000;
    appendFileSync(file, Array.from({ length: count }, (_, n) => `flood ${n}\n`).join(""));
    const seen = await until("all lines, told or counted", async () => {
      const found = await logs("etl", "flood", whose);
      const lost = found.missing.reduce((sum, note) => sum + Number(note.count ?? 0), 0);
      // Lines of the workload's own may be among those that were counted.
      return found.lines.length + lost >= count && found;
    });
    expect(seen.lines.length).toBeGreaterThan(1_000);
    expect(seen.lines.length).toBeLessThan(count / 2);
    expect(new Set(seen.missing.map(({ reason }) => reason))).toEqual(new Set(["RATE_LIMITED"]));
    const { stderr } = await fleet.tryCli(["logs", "etl", ...whose, "--limit", "1"]);
    expect(stderr).toMatch(/^-- [\d,]+ lines of worker are missing between .* \(RATE_LIMITED\)$/m);
    await fleet.cli(["wait", "instance", "etl", ...whose, "--for", "Metered", "--timeout", "30s"]);
  });

  it("that try to drive a terminal come escaped", async () => {
    const file = await logOf("hosted", "etl-free", []);
    appendFileSync(file, "evil \u001b]52;c;aGk=\u0007\u001b[2J\n");
    await until("the line", async () => (await logs("etl-free", "evil")).lines.length === 1);
    const out = await fleet.cli(["logs", "etl-free", "--grep", "evil "]);
    expect(out).toContain("evil \\u001b]52;c;aGk=\\u0007\\u001b[2J");
  });

  it("of the pool are nobody's but the vendor's, and a tenant's own are its own", async () => {
    const asked = await fleet.tryCli(["--context", "acme", "logs", "etl-free"]);
    expect(asked).toMatchObject({ code: 3, stdout: "" });
    const own = await fleet.cli(["--context", "initech", "logs", "etl", "--grep", "flood "]);
    expect(own).toContain("flood ");
    const foreign = await fleet.tryCli(["--context", "acme", "logs", "etl"]);
    expect(foreign).toMatchObject({ code: 3, stdout: "" });
  });
});
