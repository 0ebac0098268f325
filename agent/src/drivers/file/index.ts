/**
 * The driver of kind `file`: files of a release on this host, below the instance's own folder and below those that the
 * customer's configuration names. It follows no link, replaces files as a whole, and keeps what stood there until the
 * commit.
 */
import { checkFileSpec } from "@holdfast/shared/blueprint/kinds/file.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  type Driver,
  STANDING_VERBS,
  type StepContext,
  type StepOrder,
  type StepOutcome,
} from "../driver.ts";
import { findCopies, findOf } from "./copies.ts";
import { driftOf, revertSteps } from "./drift.ts";
import { Folder } from "./folder.ts";
import { DRIVER_KIND, type FileHost } from "./host.ts";
import { comparedOf, healthOf, liveOf } from "./live.ts";
import { prepareWrite } from "./prepare.ts";
import { dropFiles, removeCopy } from "./remove.ts";
import { restartSteps, stepsFor } from "./steps.ts";
import { watchFiles } from "./watch.ts";
import { writeCopy } from "./write.ts";

export { type FileHost, fileHost } from "./host.ts";

/** A file is ready once it has its name. */
const READINESS = { deadlineMs: 10_000, intervalMs: 200 } as const;

/** Without memory but for what a look has read: two of them over one state directory see and do the same. */
export function fileDriver(host: FileHost): Driver {
  return {
    kind: DRIVER_KIND,
    isAtomic: true,
    missing: async () => whyMissing(host.procDir),
    check: checkFileSpec,
    observe: async (context, scope = "all") => {
      const copies = await findCopies(host, context);
      if (scope === "recorded") return copies.map(liveOf);
      return await inTurn(copies, (copy) => comparedOf(host, copy, context));
    },
    observeOne: {
      recorded: async (id, context) => (await findOf(host, id, context)).map(liveOf),
      all: async (id, context) =>
        await inTurn(await findOf(host, id, context), (copy) => comparedOf(host, copy, context)),
    },
    prepare: (wanted, context) =>
      onHost(wanted.key.resourceId, () => prepareWrite(host, wanted, context)),
    steps: stepsFor,
    restart: restartSteps,
    run: (order, context) => onHost(order.resourceId, () => runStep(host, order, context)),
    readiness: () => READINESS,
    health: async (live) => healthOf(live),
    readings: async () => [],
    readingsKept: async () => undefined,
    logs: async () => [],
    logFiles: async () => [],
    readLog: async (_, at) => ({ data: Buffer.alloc(0), at, isEnd: false, wasCut: false }),
    redactor: () => undefined,
    drift: driftOf,
    revert: revertSteps,
    watch: (context, changed) => watchFiles(host, context, changed),
    // Its files are what releases say; data is what workloads make.
    kept: async () => [],
    destroy: async () => undefined,
    drop: (instanceId, context) => onHost(instanceId, () => dropFiles(host, instanceId, context)),
  };
}

async function runStep(
  host: FileHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  switch (order.verb) {
    case "write":
      return await writeCopy(host, order, context);
    case "remove":
      return await removeCopy(host, order, context);
    case STANDING_VERBS.signal:
      return { message: "a file takes no signal" };
    default: {
      const message = `${order.resourceId}: got ${shown(order.verb)}; the file driver knows write, remove, signal`;
      throw new Fault("UNIMPLEMENTED", "VERB_UNKNOWN", message);
    }
  }
}

function whyMissing(procDir: string): string | undefined {
  try {
    const folder = Folder.open(procDir, "/");
    try {
      folder.names();
    } finally {
      folder.close();
    }
    return undefined;
  } catch (error) {
    return `${procDir}/self/fd cannot be used: ${causeChain(error)}; it needs Linux with proc mounted`;
  }
}

/** What the host's file system says, such as a full disk, becomes a fault that names the subject. */
async function onHost<Result>(subject: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof Fault || typeof code !== "string") throw error;
    const message = `${subject}: the host refused: ${causeChain(error)}`;
    throw new Fault("UNAVAILABLE", "HOST_REFUSED", message, { cause: error });
  }
}

/** One after the other: most are answered without reading anything. */
async function inTurn<In, Out>(
  all: readonly In[],
  each: (one: In) => Promise<Out>,
): Promise<readonly Out[]> {
  const out: Out[] = [];
  for (const one of all) out.push(await each(one));
  return out;
}
