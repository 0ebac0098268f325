/**
 * Finds every container that carries this state directory's labels, in one question to the engine. Only those that do
 * not run are looked at more closely: how they ended the engine still knows, also after the agent or itself was away.
 */
import type { DriverContext } from "../driver.ts";
import { resourceOf } from "../handles.ts";
import type { Docker } from "./dock.ts";
import { unlessGone } from "./faults.ts";
import type { ContainerHost } from "./host.ts";
import { LABEL, type Marks, marksIn } from "./marks.ts";
import { type HealthNote, readHealth, runDirOf } from "./notes.ts";

/** As the engine calls them. */
const STATES = [
  "created",
  "running",
  "paused",
  "restarting",
  "exited",
  "dead",
  "removing",
] as const;
export type CopyState = (typeof STATES)[number];

export type CopyExit = Readonly<{
  at: number;
  code: number;
  wasKilledForMemory: boolean;
  /** Of the engine, where it could not start it. */
  error: string;
}>;

/** One start of one container, and what is left of it. */
export type Copy = Marks &
  Readonly<{
    id: string;
    runDir: string;
    state: CopyState;
    createdAt: number;
    /** By the engine, where its restart policy says so. */
    engineRestarts: number;
    exit: CopyExit | undefined;
    health: HealthNote;
  }>;

/** Looked at more closely at once, so that many crashed ones do not flood the engine. */
const INSPECTED_AT_ONCE_MAX = 8;

type CopyHost = Pick<ContainerHost, "dock" | "kind">;

/**
 * Of the host's kind, of one instance or of all, oldest first. Rejects where the engine does not answer: unknown is not
 * empty.
 */
export async function findCopies(
  host: CopyHost,
  context: DriverContext,
  instanceId?: string,
): Promise<readonly Copy[]> {
  const isOwn = ({ handle }: Marks) => resourceOf(handle, host.kind) !== undefined;
  return await findMarked(host, context, isOwn, instanceId);
}

/** Whether any container of the instance is there, of whatever kind. */
export async function hasContainers(
  host: Pick<ContainerHost, "dock">,
  instanceId: string,
  context: DriverContext,
): Promise<boolean> {
  return (await findMarked(host, context, () => true, instanceId)).length > 0;
}

async function findMarked(
  host: Pick<ContainerHost, "dock">,
  context: DriverContext,
  isMeant: (marks: Marks) => boolean,
  instanceId: string | undefined,
): Promise<readonly Copy[]> {
  const ofOne = instanceId === undefined ? [] : [`${LABEL.instance}=${instanceId}`];
  const filters = { label: [`${LABEL.state}=${context.stateDir}`, ...ofOne] };
  const listed = await host.dock.ask("containers", context.signal, (docker) =>
    docker.listContainers({ all: true, filters }),
  );
  const copies: Copy[] = [];
  for (let from = 0; from < listed.length; from += INSPECTED_AT_ONCE_MAX) {
    const some = listed.slice(from, from + INSPECTED_AT_ONCE_MAX);
    const found = await Promise.all(some.map((info) => copyOf(host, info, context, isMeant)));
    copies.push(...found.flatMap((copy) => copy ?? []));
  }
  return copies.sort((a, b) => a.createdAt - b.createdAt || (a.handle < b.handle ? -1 : 1));
}

export async function findCopy(
  host: CopyHost,
  instanceId: string,
  handle: string,
  context: DriverContext,
): Promise<Copy | undefined> {
  const copies = await findCopies(host, context, instanceId);
  return copies.find((copy) => copy.handle === handle);
}

/** undefined: not ours or not meant, or gone between two questions. */
async function copyOf(
  host: Pick<ContainerHost, "dock">,
  info: Docker.ContainerInfo,
  context: DriverContext,
  isMeant: (marks: Marks) => boolean,
): Promise<Copy | undefined> {
  const marks = marksIn(info.Labels, context.stateDir);
  const listed = stateIn(info.State);
  if (marks === undefined || !isMeant(marks)) return undefined;
  const runDir = runDirOf(marks.key, marks.handle, context);
  const known = { ...marks, id: info.Id, runDir, createdAt: info.Created * 1_000 };
  const rest = { ...known, engineRestarts: 0, exit: undefined, health: readHealth(runDir) };
  if (marks.restartPolicy === "agent" && listed === "running") return { ...rest, state: listed };
  const inspected = await inspect(host, info.Id, marks.handle, context);
  if (inspected === undefined) return undefined;
  // The list is behind a start that is under way, which the closer look waits for.
  const state = listed === "created" ? stateIn(inspected.State.Status, listed) : listed;
  const engineRestarts = inspected.RestartCount ?? 0;
  const hasEnded = state === "exited" || state === "dead";
  const exit = hasEnded ? exitOf(inspected, context) : undefined;
  return { ...rest, state, engineRestarts, exit };
}

function stateIn(text: string, otherwise: CopyState = "exited"): CopyState {
  return STATES.find((each) => each === text) ?? otherwise;
}

/** undefined: there is no such container. */
export async function inspect(
  { dock }: Pick<ContainerHost, "dock">,
  container: string,
  what: string,
  { signal }: Pick<DriverContext, "signal">,
): Promise<Docker.ContainerInspectInfo | undefined> {
  return await unlessGone(
    dock.ask(what, signal, (docker) => docker.getContainer(container).inspect()),
  );
}

function exitOf({ State }: Docker.ContainerInspectInfo, { clock }: DriverContext): CopyExit {
  const at = Date.parse(State.FinishedAt);
  return {
    // The engine's year 1 means never.
    at: Number.isNaN(at) || at <= 0 ? clock.now() : at,
    code: State.ExitCode,
    wasKilledForMemory: State.OOMKilled,
    error: State.Error,
  };
}
