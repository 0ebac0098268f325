/** The driver contract, kept by real files. */
import { chmodSync, linkSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { StepOrder } from "../driver.ts";
import { createWorld, INSTANCE, NEIGHBOUR } from "./file.test-world.ts";
import { besideNames, readRecord, recordPath, writeRecord } from "./record.ts";

const NOTED = "noted, nothing written yet";
const FOLDERS = "folders made, half of the file beside its place";
const STAGED = "the new file beside its place";
const PLACED = "in place, not noted yet";

describeDriverContract("file", [NOTED, FOLDERS, STAGED, PLACED], (): DriverScenario => {
  const world = createWorld();
  const first = world.wanted(1);
  const path = join(world.own, "etc/app.json");
  /** As if the agent had been killed on the way: a whole write, of which the last parts are taken back. */
  const written = async (order: StepOrder) => {
    await world.carryOut([order], first);
    const { run } = world.context.directories(INSTANCE);
    const handle = String(order.input["handle"]);
    const record = readRecord(recordPath(run, handle));
    if (record === undefined) throw new Error("no record of a write");
    return { run, record, beside: join(dirname(path), besideNames(record).staged) };
  };
  return {
    ...{ first, second: world.wanted(2) },
    neighbour: world.wanted(1, {}, { key: { ...first.key, instanceId: NEIGHBOUR } }),
    driver: world.driver,
    context: world.context,
    end: async () => world.end(),
    meddle: () => {
      chmodSync(path, 0o666);
      return "mode";
    },
    touch: () => writeFileSync(`${path}.bak`, "somebody else's"),
    crashes: [
      {
        name: NOTED,
        leave: async (order) => {
          const { run, record } = await written(order);
          rmSync(world.own, { recursive: true });
          writeRecord(run, { ...record, staged: undefined, placed: undefined });
        },
      },
      {
        name: FOLDERS,
        leave: async (order) => {
          const { run, record, beside } = await written(order);
          rmSync(path);
          writeFileSync(beside, '{"n"');
          writeRecord(run, { ...record, staged: undefined, placed: undefined });
        },
      },
      {
        name: STAGED,
        leave: async (order) => {
          const { run, record, beside } = await written(order);
          mkdirSync(dirname(path), { recursive: true });
          linkSync(path, beside);
          rmSync(path);
          writeRecord(run, { ...record, placed: undefined });
        },
      },
      {
        name: PLACED,
        leave: async (order) => {
          const { run, record } = await written(order);
          writeRecord(run, { ...record, placed: undefined });
        },
      },
    ],
  };
});
