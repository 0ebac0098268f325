/**
 * Jobs in containers of a real engine: a shell of the image that notes each of its runs in a volume of the instance,
 * for tests of the job driver.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { createWorld, INSTANCE } from "../container/container.test-world.ts";
import type { DockerWorld } from "../container/docker.test-world.ts";
import type {
  Driver,
  DriverContext,
  JsonObject,
  Live,
  Step,
  StepContext,
  StepOutcome,
  Wanted,
} from "../driver.ts";
import { type Copy, findCopies } from "../engine/copies.ts";
import { removeCopy } from "../engine/end.ts";
import { type ContainerHost, hostFor } from "../engine/host.ts";
import { letGoOfImages } from "../engine/image.ts";
import { imageHolder, volumeName } from "../engine/marks.ts";
import { asContainers } from "./in-container.ts";
import { jobDriver } from "./index.ts";
import { programHostOf } from "./job.test-world.ts";

/**
 * Notes its words in /data/ran, then does as the first says: ok, fail, flaky (fails until its third try), hang, wait
 * (until /data/go is there), leaky (prints its secret), outputs (writes its second word), eater (wants all memory).
 */
const PROGRAM = `echo "$*" >>/data/ran
echo "did $*"
case $1 in
fail) exit 3 ;;
flaky) [ "$HOLDFAST_TRY" = 3 ] || exit 3 ;;
hang) exec sleep 600 ;;
wait) until [ -e /data/go ]; do sleep 0.02; done; exit 4 ;;
leaky) echo "the dsn is $(cat $HOLDFAST_SECRET_DSN_FILE)" ;;
outputs) printf '%s' "$2" >"$HOLDFAST_OUTPUTS" ;;
eater) exec dd if=/dev/zero of=/dev/null bs=900M count=1 ;;
esac
`;

export function words(...does: readonly string[]): readonly string[] {
  return ["/bin/sh", "-c", PROGRAM, "job", ...does];
}

export type World = Readonly<{
  stateDir: string;
  /** Whose containers are those of jobs. */
  host: ContainerHost;
  context: DriverContext;
  driver(): Driver;
  /** The driver of containers that serve, over the same engine. */
  containers(): Driver;
  wanted(
    does: readonly string[],
    given?: Partial<Wanted> & Readonly<{ with?: JsonObject }>,
  ): Wanted;
  known(...renderings: readonly Wanted[]): StepContext;
  carryOut(
    steps: readonly Step[],
    ...renderings: readonly Wanted[]
  ): Promise<readonly StepOutcome[]>;
  observe(): Promise<readonly Live[]>;
  copies(): Promise<readonly Copy[]>;
  /** Lines of /data/ran. */
  ran(): readonly string[];
  /** Where a file of the volume is on the host. */
  dataFile(name: string): string;
  end(): Promise<void>;
}>;

export function createJobWorld(
  engine: DockerWorld,
  image: string,
  {
    clock = systemClock,
    instanceId = INSTANCE,
  }: Readonly<{ clock?: Clock; instanceId?: string }> = {},
): World {
  const its = createWorld(engine, image);
  const host = hostFor("job", its.host);
  const context = { ...its.context, clock };
  const driver = () =>
    jobDriver(
      programHostOf(() => undefined),
      asContainers(its.host),
    );
  const known: World["known"] = (...renderings) => ({ ...its.known(...renderings), clock });
  const dataFile = (name: string) => {
    const volume = volumeName(its.stateDir, instanceId, "rows");
    return join(engine.dir, "data/volumes", volume, "_data", name);
  };
  return {
    ...{ stateDir: its.stateDir, host, context, driver, known, dataFile },
    containers: its.driver,
    carryOut: async (steps, ...renderings) => {
      const outcomes: StepOutcome[] = [];
      for (const step of steps) {
        await clock.sleep(Math.max(0, (step.notBefore ?? 0) - clock.now()));
        outcomes.push(await driver().run(step, known(...renderings)));
      }
      return outcomes;
    },
    wanted: (does, given = {}) => wantedOf(image, does, given),
    observe: () => driver().observe(context),
    copies: () => findCopies(host, context),
    ran: () => {
      const lines = existsSync(dataFile("ran"))
        ? readFileSync(dataFile("ran"), "utf8").split("\n")
        : [];
      return lines.filter((line) => line !== "");
    },
    end: async () => {
      for (const copy of await findCopies(host, context)) await removeCopy(host, copy, context);
      await letGoOfImages(host, imageHolder(its.stateDir, instanceId), context);
      await its.end();
    },
  };
}

function wantedOf(
  image: string,
  does: readonly string[],
  given: Partial<Wanted> & Readonly<{ with?: JsonObject }>,
): Wanted {
  const { with: more, ...fields } = given;
  const isSaid = more?.["undo"] !== undefined || more?.["irreversible"] !== undefined;
  return {
    key: { instanceId: INSTANCE, resourceId: "migrate" },
    kind: "job",
    generation: { incarnation: 1n, number: 1n },
    releaseVersion: "1.0.0",
    digest: `sha256:${"1".repeat(64)}`,
    spec: {
      image: { artefact: "tools" },
      argv: words(...does),
      volumes: { rows: { path: "/data" } },
      deadlineMs: 30_000,
      stop: { graceMs: 300 },
      backoff: { baseMs: 20, capMs: 100 },
      ...(!isSaid && { effect: "none" }),
      ...more,
    },
    secrets: new Map(),
    artefacts: new Map([["tools", image]]),
    ...fields,
  };
}
