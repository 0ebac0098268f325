/** The driver contract, kept by the template. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { Live, StepOrder, Wanted } from "../driver.ts";
import { readJson, replaceJson } from "../json-file.ts";
import { noteDriver } from "./note.test-driver.ts";
import { noteWorld } from "./note.test-world.ts";

const INSTANCE = `ins_${"a".repeat(32)}`;
const NEIGHBOUR = `ins_${"b".repeat(32)}`;
const HALF = "half of the file beside its place";

function wantedOf(number: bigint, instanceId = INSTANCE): Wanted {
  return {
    key: { instanceId, resourceId: "greeting" },
    kind: "note",
    generation: { incarnation: 1n, number },
    releaseVersion: `${number}.0.0`,
    digest: `sha256:${String(number).repeat(64)}`,
    spec: { text: `hello ${number}` },
    secrets: new Map(),
    artefacts: new Map(),
  };
}

describeDriverContract("note", [HALF], (): DriverScenario => {
  const { context, end } = noteWorld();
  const pathOf = (handle: string) => join(context.directories(INSTANCE).run, `${handle}.note`);
  return {
    ...{ context, end, driver: noteDriver },
    ...{ first: wantedOf(1n), second: wantedOf(2n), neighbour: wantedOf(1n, NEIGHBOUR) },
    crashes: [
      {
        name: HALF,
        leave: async ({ input }: StepOrder) => {
          writeFileSync(`${pathOf(String(input["handle"]))}.new`, '{"instance":');
        },
      },
    ],
    meddle: ({ handle }: Live) => {
      replaceJson(pathOf(handle), { ...readJson(pathOf(handle)), text: "by hand" });
      return "text";
    },
    touch: () => writeFileSync(join(context.directories(INSTANCE).data, "theirs"), "x"),
  };
});
