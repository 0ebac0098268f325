/** Crash points of attempts over the template: what a client reads is the old text or the new one, at any moment. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CrashScenario,
  describeCrashPoints,
  type Version,
} from "../../reconcile/crash-points.test-suite.ts";
import { CRASH_INSTANCE } from "../../reconcile/crash-world.test-world.ts";
import { describeRemovalPoints } from "../../reconcile/removal-points.test-suite.ts";
import { noteDriver } from "./note.test-driver.ts";
import { noteWorld } from "./note.test-world.ts";

const scenario = (): CrashScenario => {
  const { context, end } = noteWorld();
  // The second one names what the first one gives out.
  const both = (version: Version) => [
    { id: "first", spec: { text: version } },
    {
      id: "second",
      dependsOn: ["first"],
      spec: { text: `${version} \${resources.first.outputs.handle}` },
    },
  ];
  return {
    ...{ context, end, driver: noteDriver },
    resources: { a: both("a"), b: both("b") },
    outputs: { first: `\${resources.first.outputs.handle}` },
    ask: async ({ first }) => {
      const path = join(context.directories(CRASH_INSTANCE).run, `${first}.note`);
      return (JSON.parse(readFileSync(path, "utf8")) as { text: Version }).text;
    },
  };
};

// No note that was begun can fail but by its host.
describeCrashPoints("note", scenario, ["good"]);
describeRemovalPoints("note", scenario, { keepsData: false });
