/**
 * A driver whose copies are files of the instance's run directory: real effects that outlive the engine, and no
 * memory, like any driver. What a copy does is said by MODE in its environment: fail (to start, half done),
 * never-ready, sick (failed at once), hang (the start never ends), late (nor does this one, and it may not take that
 * long), keep (cannot be stopped), meet (the start ends once another copy of the generation is there), final (its start cannot be taken back), final-sick (both).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkProcessSpec, readProcessSpec } from "@holdfast/shared/blueprint/kinds/process.ts";
import type {
  Difference,
  Driver,
  DriverContext,
  JsonObject,
  Live,
  Step,
  StepContext,
  StepOrder,
  StepOutcome,
  Wanted,
} from "../drivers/driver.ts";
import { destroyData, keptData } from "../drivers/process/kept.ts";

type CopyFile = Readonly<{
  instanceId: string;
  resourceId: string;
  digest: string;
  incarnation: string;
  number: string;
  startedAt: number;
  mode: string;
  /** What the copy was told, for others to read. */
  argv: readonly string[];
  port: number;
  exited: boolean;
  restarts: number;
}>;

export type FileDriver = Driver &
  Readonly<{
    /** Every order that was run, oldest first. */
    orders: readonly string[];
    /** The secrets that each start was handed. */
    handed: readonly Readonly<Record<string, string>>[];
    /** A look that fails; what `prepare` throws; a sick copy, whatever its mode; the release whose copies are slow. */
    faults: { observe?: string; prepare?: Error; sick?: boolean; slow?: string };
  }>;

const PORT_FIRST = 40_000;
const AT_ONCE = { deadlineMs: 30_000, intervalMs: 200 };
const LATE_MS_MAX = 150;
const MEET_MS_MAX = 10_000;
const MEET_POLL_MS = 2;

export function fileDriver(): FileDriver {
  const orders: string[] = [];
  const handed: Readonly<Record<string, string>>[] = [];
  const faults: FileDriver["faults"] = {};
  return {
    kind: "process",
    isAtomic: true,
    orders,
    handed,
    faults,
    missing: async () => undefined,
    check: checkProcessSpec,
    async observe(context, scope = "all") {
      if (faults.observe !== undefined) throw new Error(faults.observe);
      const found = copies(context).map(({ handle, file }) => liveOf(handle, file));
      return scope === "all" ? found : found.map(({ fields: _, ...live }) => live);
    },
    async prepare() {
      if (faults.prepare !== undefined) throw faults.prepare;
    },
    steps,
    restart,
    drift,
    revert,
    async run(order, context) {
      orders.push(`${order.resourceId}/${order.verb}`);
      return await runOrder(order, context, (wanted) => {
        handed.push(Object.fromEntries(wanted.secrets));
      });
    },
    async health(live, wanted, context) {
      const file = read(context, live.key.instanceId, live.handle);
      if (file === undefined || file.exited) {
        return { state: "failed", alive: false, message: "it has exited" };
      }
      const mode = modeOf(wanted);
      if (faults.slow === file.number)
        return { state: "starting", alive: true, message: "not yet" };
      if (faults.sick) return { state: "failed", alive: true, message: "says it is sick" };
      if (mode === "never-ready") return { state: "starting", alive: true, message: "answers 503" };
      if (mode.endsWith("sick"))
        return { state: "failed", alive: true, message: "says it is sick" };
      return { state: "ready", alive: true, message: "ready" };
    },
    readiness: ({ spec }) => readProcessSpec(spec, "spec").readiness ?? AT_ONCE,
    readings: async () => [],
    readingsKept: async () => undefined,
    logs: async () => [],
    logFiles: async () => [],
    readLog: async (_, at) => ({ data: Buffer.alloc(0), at, isEnd: false, wasCut: false }),
    redactor: () => undefined,
    async drop(instanceId, context) {
      rmSync(context.directories(instanceId).run, { recursive: true, force: true });
    },
    kept: keptData,
    destroy: destroyData,
  };
}

function steps(
  live: readonly Live[],
  last: Wanted | undefined,
  wanted: Wanted | undefined,
): readonly Step[] {
  const serving = live.findLast(
    ({ digest, phase }) => digest === wanted?.digest && phase !== "exited",
  );
  const stops = live.filter((copy) => copy !== serving).map((copy): Step => stopStep(copy));
  if (wanted === undefined) return stops;
  if (serving !== undefined) return stops;
  const restarts = live.filter(({ digest }) => digest === wanted.digest).length;
  return [startStep(wanted, restarts, last), ...stops];
}

/** All at once for a moment, or with the argument `alone` one after the other. */
function restart(live: readonly Live[], wanted: Wanted): readonly Step[] {
  const next = Math.max(-1, ...live.map(({ handle }) => Number(handle.split("-").at(-1)))) + 1;
  const start = startStep(wanted, next, wanted);
  const stops = live.map((copy) => stopStep(copy));
  if (!(wanted.spec["argv"] as readonly unknown[]).includes("alone")) return [start, ...stops];
  const first = stops.map((stop): Step => {
    const undo = { ...startStep(wanted, next + 1, wanted), summary: "start it again" };
    return { ...stop, class: "compensable", when: "before-commit", undo };
  });
  return [...first, start];
}

/** Of a copy it owns the arguments, as its file says them. */
function drift({ fields }: Live, { spec }: Wanted): readonly Difference[] {
  const argv = fields?.["argv"];
  const applied = (spec["argv"] ?? []) as JsonObject[string];
  if (argv === undefined || JSON.stringify(argv) === JSON.stringify(applied)) return [];
  return [{ path: "argv", applied, live: argv }];
}

function revert(live: Live, applied: Wanted): readonly Step[] {
  if (drift(live, applied).length === 0) return [];
  const { instanceId: instance, resourceId } = live.key;
  return [
    {
      ...{ resourceId, kind: "process", verb: "rewrite" },
      input: { instance, handle: live.handle, digest: applied.digest },
      id: `${resourceId}/rewrite`,
      class: modeOf(applied) === "final-revert" ? "irreversible" : "reversible",
      when: "before-commit",
      summary: `write the arguments of ${resourceId} again`,
    },
  ];
}

function modeOf({ spec }: Wanted): string {
  return String((spec["env"] as JsonObject | undefined)?.["MODE"] ?? "");
}

function startStep(wanted: Wanted, restarts: number, last: Wanted | undefined): Step {
  const { instanceId: instance, resourceId } = wanted.key;
  const handle = `${resourceId}-${wanted.digest.slice(7, 19)}-${restarts}`;
  const order = { resourceId, kind: "process" };
  return {
    ...order,
    verb: "start",
    input: { instance, handle, digest: wanted.digest, restarts },
    id: `${resourceId}/start`,
    class: modeOf(wanted).startsWith("final") ? "irreversible" : "reversible",
    when: "before-commit",
    summary: `start ${resourceId} of ${wanted.releaseVersion}${last === undefined ? "" : " again"}`,
    ...(modeOf(wanted) === "late" && { msMax: LATE_MS_MAX }),
    ...(modeOf(wanted) === "meet" && { msMax: MEET_MS_MAX }),
    undo: {
      ...order,
      verb: "stop",
      input: { instance, handle },
      summary: `stop the new ${handle}`,
    },
  };
}

function stopStep({ key, handle }: Live): Step {
  const { instanceId: instance, resourceId } = key;
  return {
    resourceId,
    kind: "process",
    verb: "stop",
    input: { instance, handle },
    id: `${resourceId}/stop/${handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `stop ${handle}`,
  };
}

async function runOrder(
  order: StepOrder,
  context: StepContext,
  starts: (wanted: Wanted) => void,
): Promise<StepOutcome> {
  const instance = String(order.input["instance"]);
  const handle = String(order.input["handle"]);
  if (order.verb === "signal") {
    const { run } = context.directories(instance);
    writeFileSync(join(run, "..", `signalled-${order.resourceId}`), String(order.input["signal"]));
    return {};
  }
  const path = pathOf(context, instance, handle);
  if (order.verb === "stop") {
    if (read(context, instance, handle)?.mode === "keep") throw new Error("it cannot be stopped");
    rmSync(path, { force: true });
    return { handle };
  }
  const wanted = await context.wanted(String(order.input["digest"]));
  if (order.verb === "rewrite") {
    const found = read(context, instance, handle);
    const argv = wanted.spec["argv"];
    if (found !== undefined) writeFileSync(path, JSON.stringify({ ...found, argv }));
    return { handle };
  }
  starts(wanted);
  const mode = modeOf(wanted);
  if (mode === "hang" || mode === "late") {
    await new Promise((_, reject) => abort(context.signal, reject));
  }
  mkdirSync(context.directories(instance).run, { recursive: true });
  if (!existsSync(path)) {
    const file: CopyFile = {
      instanceId: instance,
      resourceId: order.resourceId,
      digest: wanted.digest,
      incarnation: String(wanted.generation.incarnation),
      number: String(wanted.generation.number),
      startedAt: context.clock.now(),
      mode,
      argv: (wanted.spec["argv"] as readonly unknown[]).map(String),
      port: freePort(context),
      exited: false,
      restarts: Number(order.input["restarts"]),
    };
    writeFileSync(path, JSON.stringify(file));
  }
  while (mode === "meet" && companions(context, wanted).length < 2) {
    await context.clock.sleep(MEET_POLL_MS, context.signal);
    if (context.signal.aborted) throw new Error("nobody came");
  }
  if (mode === "fail") throw new Error("the disk said no, half way");
  return { handle };
}

function companions(context: DriverContext, { key, generation }: Wanted): readonly FoundCopy[] {
  return copies(context).filter(
    ({ file }) => file.instanceId === key.instanceId && file.number === String(generation.number),
  );
}

function abort(signal: AbortSignal, reject: (error: Error) => void): void {
  const stop = () => reject(new Error("aborted"));
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
}

function liveOf(handle: string, file: CopyFile): Live {
  return {
    key: { instanceId: file.instanceId, resourceId: file.resourceId },
    handle,
    digest: file.digest,
    generation: { incarnation: BigInt(file.incarnation), number: BigInt(file.number) },
    phase: file.exited ? "exited" : "running",
    outputs: { ports: { http: file.port } },
    startedAt: file.startedAt,
    restarts: file.restarts,
    message: "",
    fields: { argv: file.argv },
  };
}

export type FoundCopy = Readonly<{ handle: string; file: CopyFile }>;

/** What is there, without any driver. */
export function copies(context: Pick<DriverContext, "stateDir">): readonly FoundCopy[] {
  const instances = join(context.stateDir, "instances");
  if (!existsSync(instances)) return [];
  return readdirSync(instances).flatMap((instance) => {
    const run = join(instances, instance, "run");
    if (!existsSync(run)) return [];
    return readdirSync(run).map((name) => ({
      handle: name,
      file: JSON.parse(readFileSync(join(run, name), "utf8")) as CopyFile,
    }));
  });
}

function read(context: DriverContext, instance: string, handle: string): CopyFile | undefined {
  const path = pathOf(context, instance, handle);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as CopyFile) : undefined;
}

function pathOf(context: DriverContext, instance: string, handle: string): string {
  return join(context.directories(instance).run, handle);
}

function freePort(context: DriverContext): number {
  const taken = copies(context).map(({ file }) => file.port);
  return Math.max(PORT_FIRST, ...taken) + 1;
}
