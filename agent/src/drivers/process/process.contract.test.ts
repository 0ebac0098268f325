/** The driver contract, kept by real processes. */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { StepOrder } from "../driver.ts";
import { readRecord, writeRecord } from "../host-process/record.ts";
import { createWorld, INSTANCE } from "./process.test-world.ts";

const BEFORE_SPAWN = "ports chosen, no process yet";
const BEFORE_RECORD = "process started, no record of it";
const WITHOUT_RECORD = "process started, no record at all";
const WITHOUT_FOLDER = "process started, its run directory lost";

describeDriverContract(
  "process",
  [BEFORE_SPAWN, BEFORE_RECORD, WITHOUT_RECORD, WITHOUT_FOLDER],
  (): DriverScenario => {
    const world = createWorld();
    const secrets = new Map([["dsn", "postgres://etl:hunter2@db/etl"]]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference of a release.
    const first = world.wanted({ secrets, with: { secretFiles: { dsn: "${secrets.dsn}" } } });
    const second = world.wanted({
      digest: `sha256:${"2".repeat(64)}`,
      generation: { incarnation: 1n, number: 2n },
      releaseVersion: "1.1.0",
    });
    const key = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "worker" };
    const runDir = (order: StepOrder) =>
      join(world.context.directories(INSTANCE).run, String(order.input["handle"]));
    /** As if the agent had been killed between the spawn and the second writing of the record. */
    const unrecorded = async (order: StepOrder) => {
      await world.driver().run(order, world.known(first));
      const record = readRecord(runDir(order));
      if (record?.process === undefined) throw new Error("no process in the record of a start");
      return { ...record, process: record.process };
    };
    return {
      ...{ first, second },
      neighbour: world.wanted({ key }),
      driver: world.driver,
      context: world.context,
      end: world.end,
      meddle: ({ handle }) => {
        chmodSync(join(world.context.directories(INSTANCE).run, handle, "secrets/dsn"), 0o644);
        return "secretFiles.dsn.mode";
      },
      touch: ({ handle }) =>
        writeFileSync(join(world.context.directories(INSTANCE).run, handle, "notes"), "another's"),
      holdData: async (instanceId) => {
        writeFileSync(join(world.context.directories(instanceId).data, "rows"), "kept");
        return "data";
      },
      crashes: [
        {
          name: BEFORE_SPAWN,
          leave: async (order) => {
            const record = await unrecorded(order);
            process.kill(record.process.pid, "SIGKILL");
            writeRecord(runDir(order), { ...record, process: undefined });
          },
        },
        {
          name: BEFORE_RECORD,
          leave: async (order) => {
            writeRecord(runDir(order), { ...(await unrecorded(order)), process: undefined });
          },
        },
        {
          name: WITHOUT_RECORD,
          leave: async (order) => {
            await unrecorded(order);
            rmSync(join(runDir(order), "record.json"));
          },
        },
        {
          name: WITHOUT_FOLDER,
          leave: async (order) => {
            await unrecorded(order);
            rmSync(runDir(order), { recursive: true });
          },
        },
      ],
    };
  },
);
