/** The plan of one container resource: that of every kind with copies, told what a container spec says. */
import { type CopyRules, planCopies, planRestart } from "../copy-plan.ts";
import type { Driver } from "../driver.ts";
import { portsOf, START_MS_MAX, specOf } from "../engine/spec.ts";

export const DRIVER_KIND = "container";

const CONTAINERS: CopyRules = {
  kind: DRIVER_KIND,
  startMsMax: START_MS_MAX,
  factsOf: (given) => {
    const spec = specOf(given);
    return { ports: portsOf(spec), stop: spec.stop, restart: spec.restart };
  },
};

export const stepsFor: Driver["steps"] = (live, last, wanted, now) =>
  planCopies(CONTAINERS, live, last, wanted, now);

export const restartSteps: Driver["restart"] = (live, wanted) =>
  planRestart(CONTAINERS, live, wanted);
