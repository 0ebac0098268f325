/** A state directory, a folder of the host that releases may write to, and renderings of files, for tests of the driver. */
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { instanceDirectories } from "../../local/directories.ts";
import type {
  Driver,
  DriverContext,
  JsonObject,
  Live,
  Step,
  StepContext,
  StepOrder,
  StepOutcome,
  Wanted,
} from "../driver.ts";
import type { FileHost } from "./host.ts";
import { fileDriver } from "./index.ts";
import { SeenFiles } from "./seen.ts";

export const INSTANCE = "ins_00000000000070008000000000000001";
export const NEIGHBOUR = "ins_00000000000070008000000000000002";
/** Accounts of the tests: numbers that no account of a host has. */
export const ETL = { uid: 65_531, gid: 65_530 };

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export type World = ReturnType<typeof createWorld>;

export function createWorld(change: Partial<FileHost> = {}, existing?: string) {
  const home = existing ?? realpathSync(mkdtempSync(join(tmpdir(), "holdfast-file-")));
  const [stateDir, root, artefact] = ["state", "root", "artefact"].map((name) =>
    join(home, name),
  ) as [string, string, string];
  for (const path of [stateDir, root, join(artefact, "eu")]) mkdirSync(path, { recursive: true });
  writeFileSync(join(artefact, "eu", "default.json"), '{"region": "eu"}\n');
  const accountsFile = join(home, "passwd");
  writeFileSync(accountsFile, `root:x:0:0:::\netl:x:${ETL.uid}:${ETL.gid}:::\n`);
  const host: FileHost = {
    ...{ roots: [root], procDir: "/proc", accountsFile, users: ["etl", "root"] },
    ...{ uid: process.getuid?.() ?? 0, seen: new SeenFiles() },
    ...change,
  };
  const stop = new AbortController();
  const context: DriverContext = {
    ...{ log: quiet, clock: systemClock, random: Math.random, signal: stop.signal, stateDir },
    directories: (instanceId) => instanceDirectories(stateDir, instanceId),
  };
  /** A fresh one each time, which remembers nothing of the ones before. */
  const driver = (): Driver => fileDriver({ ...host, seen: new SeenFiles() });
  const known = (...renderings: readonly Wanted[]): StepContext => ({
    ...context,
    wanted: async (digest) => {
      const found = renderings.find((each) => each.digest === digest);
      if (found === undefined) throw new Error(`no rendering ${digest}`);
      return found;
    },
  });
  const carryOut = async (steps: readonly StepOrder[], ...renderings: readonly Wanted[]) => {
    const outcomes: StepOutcome[] = [];
    for (const step of steps) outcomes.push(await driver().run(step, known(...renderings)));
    return outcomes;
  };
  const observe = () => driver().observe(context);
  /** Everything from what is there to what is wanted, the commit included. */
  const bring = async (wanted: Wanted, last?: Wanted): Promise<Live> => {
    await driver().prepare(wanted, context);
    const steps = driver().steps(await observe(), last, wanted, 0);
    await carryOut(steps, ...[wanted, last].filter((each) => each !== undefined));
    const live = (await observe()).find(
      ({ digest, phase }) => digest === wanted.digest && phase === "running",
    );
    if (live === undefined) throw new Error(`${wanted.digest} is not in place`);
    return live;
  };
  const wanted: Rendered = (n, spec, given) => wantedOf(artefact, n, spec, given);
  return {
    ...{
      home,
      stateDir,
      root,
      artefact,
      host,
      context,
      driver,
      known,
      carryOut,
      observe,
      bring,
      wanted,
    },
    /** The instance's own folder for files. */
    own: join(context.directories(INSTANCE).run, "..", "files"),
    end(): void {
      stop.abort();
      if (existing === undefined) rmSync(home, { recursive: true, force: true });
    },
  };
}

type Rendered = (n: number, spec?: JsonObject, given?: Partial<Wanted>) => Wanted;

/** Release `n` of the file; digests differ with it. */
function wantedOf(
  artefact: string,
  n: number,
  spec: JsonObject = {},
  given: Partial<Wanted> = {},
): Wanted {
  return {
    key: { instanceId: INSTANCE, resourceId: "settings" },
    kind: "file",
    generation: { incarnation: 1n, number: BigInt(n) },
    releaseVersion: `1.${n}.0`,
    digest: `sha256:${String(n).repeat(64)}`,
    spec: { path: "etc/app.json", content: `{"n": ${n}}\n`, mode: "640", ...spec },
    secrets: new Map(),
    artefacts: new Map([["settings", artefact]]),
    ...given,
  };
}

/** The first step of a write from nothing. */
export function writeStep(world: World, wanted: Wanted): Step {
  const [step] = world.driver().steps([], undefined, wanted, 0);
  if (step === undefined) throw new Error("nothing to write");
  return step;
}

/** Every name below a folder, sorted; folders end in a slash. */
export function namesBelow(folder: string, prefix = ""): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const name = `${prefix}${entry.name}`;
      if (!entry.isDirectory()) return [name];
      return [`${name}/`, ...namesBelow(join(folder, entry.name), `${name}/`)];
    })
    .sort();
}
