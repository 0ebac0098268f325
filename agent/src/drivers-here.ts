/** The drivers of this agent, and which of them can work on this host. The only list of them. */
import type { AgentConfig } from "./config.ts";
import { dialHere } from "./drivers/ask.ts";
import { claimedDriver, type Fence } from "./drivers/claimed.ts";
import type { Driver } from "./drivers/driver.ts";
import type { ContainerGround } from "./drivers/engine/host.ts";
import { fileDriver, fileHost } from "./drivers/file/index.ts";
import type { ProgramGround } from "./drivers/host-process/host.ts";
import { programHost } from "./drivers/host-process/host.ts";
import { ephemeralPortMin, handlesSignal, uptimeMs } from "./drivers/host-process/proc.ts";
import { jobDriver } from "./drivers/job/index.ts";
import { processDriver, processHost } from "./drivers/process/index.ts";
import { fixedPortProblem } from "./drivers/process/ports.ts";

export type Drivers = Readonly<{
  usable: ReadonlyMap<string, Driver>;
  /** Every known kind to why it cannot work here. */
  known: ReadonlyMap<string, string | undefined>;
}>;

type Ground = Readonly<{
  host: Readonly<{ process: ProgramGround; uid: number }>;
  config: AgentConfig;
  telemetry: Readonly<{ timed(driver: Driver): Driver }>;
  /** Something has happened to a copy of this instance. */
  wake(instanceId: string): void;
}>;

export async function findDrivers(
  { host, config, telemetry, wake }: Ground,
  fence: Fence,
): Promise<Drivers> {
  const all = [
    ...(await programDrivers({ host, config, wake })),
    fileDriver(fileHost(host.process, host.uid, config)),
  ];
  const usable = new Map<string, Driver>();
  const known = new Map<string, string | undefined>([[CONTAINER, NO_SOCKET]]);
  for (const each of all) {
    const driver = claimedDriver(each, fence);
    const why = await driver.missing();
    known.set(driver.kind, why);
    if (why === undefined) usable.set(driver.kind, telemetry.timed(driver));
  }
  return { usable, known };
}

const CONTAINER = "container";
const NO_SOCKET = "container_socket is not set in the agent's configuration";
/** A file system in memory on every Linux, that others of the host see only as far as they may. */
const MEMORY_DIR = "/dev/shm";

/** Those whose copies run by themselves. What asks an engine is loaded only where the customer names one. */
export async function programDrivers({
  host,
  config,
  wake,
}: Pick<Ground, "host" | "config" | "wake">): Promise<readonly Driver[]> {
  const processes = processDriver(processHost(host.process, host.uid, config, wake));
  const jobs = programHost("job", host.process, host.uid, config, wake);
  const { containerSocket } = config;
  if (containerSocket === undefined) return [processes, jobDriver(jobs)];
  const [{ containerDriver }, { asContainers }, { containerHost }] = await Promise.all([
    import("./drivers/container/index.ts"),
    import("./drivers/job/in-container.ts"),
    import("./drivers/engine/host.ts"),
  ]);
  const engine = containerHost(groundOf(host), containerSocket, config);
  return [processes, jobDriver(jobs, asContainers(engine)), containerDriver(engine)];
}

function groundOf({ process: { procDir, kill }, uid }: Ground["host"]): ContainerGround {
  return {
    uid,
    dial: dialHere,
    uptimeMs: () => uptimeMs(procDir),
    handlesSignal: (pid, signal) => handlesSignal(procDir, pid, signal),
    endProcess: (pid) => kill(pid, "SIGKILL"),
    portProblem: async (name, port) => (await fixedPortProblem(name, port, procDir))?.message,
    ephemeralPortMin: () => ephemeralPortMin(procDir),
    memoryDir: MEMORY_DIR,
  };
}
