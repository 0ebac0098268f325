/** The drivers of this agent, and which of them can work on this host. The only list of them. */
import type { AgentConfig } from "./config.ts";
import { claimedDriver, type Fence } from "./drivers/claimed.ts";
import type { Driver } from "./drivers/driver.ts";
import { fileDriver, fileHost } from "./drivers/file/index.ts";
import type { ProgramGround } from "./drivers/host-process/host.ts";
import { processDriver, processHost } from "./drivers/process/index.ts";

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
    processDriver(processHost(host.process, host.uid, config, wake)),
    fileDriver(fileHost(host.process, host.uid, config)),
  ];
  const usable = new Map<string, Driver>();
  const known = new Map<string, string | undefined>();
  for (const each of all) {
    const driver = claimedDriver(each, fence);
    const why = await driver.missing();
    known.set(driver.kind, why);
    if (why === undefined) usable.set(driver.kind, telemetry.timed(driver));
  }
  return { usable, known };
}
