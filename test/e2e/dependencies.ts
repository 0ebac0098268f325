/**
 * Instances that take committed outputs of each other, in a fleet that runs: who waits and what is said of it, that a change
 * of the one reaches the other, and that none goes while it is needed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { until } from "./until.ts";

type Seen = Readonly<{
  metadata: { id: string };
  status?: {
    committedGeneration?: { number: string };
    outputs?: Record<string, string>;
    attempt?: { startTime?: string; endTime?: string };
  };
}>;

/** Two products of one file each; the reader's says what the store gives out. */
export function dependencyFacts(fleet: Fleet, home: string): void {
  const document = (kind: string, name: string, spec: object) =>
    JSON.stringify({ apiVersion: "holdfast/v1", kind, metadata: { name }, spec });
  const apply = (documents: readonly string[], ...more: readonly string[]) =>
    fleet.cli(["apply", "-f", "-", ...more], `${documents.join("\n---\n")}\n`);
  const publish = async (product: string, blueprint: object): Promise<void> => {
    const file = join(home, `${product}.yaml`);
    const about = { apiVersion: "holdfast/v1", kind: "Blueprint", product, version: "1.0.0" };
    writeFileSync(file, JSON.stringify({ ...about, number: 1, ...blueprint }));
    await fleet.cli(["release", "publish", "-f", file, "--key", fleet.layout.releaseKey]);
  };
  const instance = (product: string, more: object) =>
    document("Instance", product, {
      ...{ product, release: "1.0.0", plan: `${product}-plan`, environment: "production" },
      ...{ cell: "hosted", ...more },
    });
  const seen = async (name: string): Promise<Seen> =>
    JSON.parse(await fleet.cli(["get", "instance", name, "-o", "json"]));
  const given = async () => (await seen("store")).status?.outputs?.["digest"];
  const hosted = fleet.layout.agent("hosted").state;
  const read = async () => {
    const { metadata } = await seen("reader");
    const folder = join(hosted, "instances", metadata.id.replace("ins_", ""));
    return readFileSync(join(folder, "files/reader.txt"), "utf8");
  };
  const reads = (digest: string | undefined) =>
    until("the reader has what the store gives out", async () => {
      return digest !== undefined && (await read()) === `reads ${digest}\n`;
    });

  it("wait for what is not there, and both commands that explain say for whom", async () => {
    for (const product of ["store", "reader"]) {
      const plan = { product, tenancyModel: "TENANCY_MODEL_POOLED" };
      const offered = document("Product", product, { displayName: product });
      await apply([offered, document("Plan", `${product}-plan`, plan)]);
    }
    await publish("store", {
      parameters: { type: "object", properties: { level: { type: "string", default: "low" } } },
      resources: [
        { id: "level", kind: "file", spec: { path: "level", content: `\${params.level}\n` } },
      ],
      outputs: { digest: `\${resources.level.outputs.digest}` },
    });
    const content = `reads \${instances.db.outputs.digest}\n`;
    await publish("reader", {
      instances: [{ name: "db", product: "store", outputs: { digest: "string" } }],
      resources: [{ id: "reader", kind: "file", spec: { path: "reader.txt", content } }],
    });
    const taking = instance("reader", { instances: { db: "store" } });
    await expect(apply([taking])).rejects.toThrow("store");
    await apply([instance("store", {})], "--wait");
    await fleet.cli(["instance", "stop", "store", "--wait"]);
    await apply([taking]);
    const why = await until("it waits", async () => {
      const said = await fleet.cli(["instance", "why", "reader"]);
      return said.includes("DEPENDENCY") && said;
    });
    expect(why).toMatch(/instance db: store \(ins_[0-9a-f]+\) is stopped/);
    const onHost = await fleet.agent("why", "reader", "--state", hosted);
    expect(onHost).toMatch(/DEPENDENCY: instance db: store \(ins_[0-9a-f]+\) is stopped/);
    expect((await seen("reader")).status?.committedGeneration?.number).toBeUndefined();
    await fleet.cli(["instance", "start", "store", "--wait"]);
    await reads(await given());
  });

  it("follow a change once it is committed, and not before", async () => {
    const [before, first] = [await given(), await seen("reader")];
    await apply([instance("store", { parameters: { level: "high" } })], "--wait");
    const after = await given();
    expect(after).not.toBe(before);
    await reads(after);
    const [store, reader] = [await seen("store"), await seen("reader")];
    // Nobody asked for another generation of it: what it takes is another.
    expect(reader.status?.committedGeneration).toEqual(first.status?.committedGeneration);
    const at = (time: string | undefined) => Date.parse(time ?? "");
    expect(at(reader.status?.attempt?.startTime)).toBeGreaterThanOrEqual(
      at(store.status?.attempt?.startTime),
    );
  });

  it("do not go while they are needed", async () => {
    const refused = await fleet.tryCli(["delete", "instance", "store", "--yes"]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/STILL_NEEDED: .*reader/);
    await reads(await given());
    await fleet.cli(["delete", "instance", "reader", "--yes", "--wait"]);
    await fleet.cli(["delete", "instance", "store", "--yes", "--wait"]);
    const left = await fleet.cli(["get", "instances", "-o", "name"]);
    expect(left).not.toMatch(/store|reader/);
  });
}
