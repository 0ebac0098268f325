/**
 * A driver that acts only while its agent has the claim: before whatever starts, stops or writes, the fence is looked
 * at again, since the agent may have been suspended and another one may act by now. Looking is free to all.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Driver } from "./driver.ts";

/** `isFenced` is asked before each act; the first time that it says so, `fenced` is called. */
export type Fence = Readonly<{ isFenced(): boolean; fenced(): void }>;

export function claimedDriver(driver: Driver, fence: Fence): Driver {
  const guarded = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    if (!fence.isFenced()) return await act();
    fence.fenced();
    const message = "another agent has taken over these workloads; this one does not touch them";
    throw new Fault("PERMISSION_DENIED", "AGENT_FENCED", message);
  };
  return {
    ...driver,
    prepare: (wanted, context) => guarded(() => driver.prepare(wanted, context)),
    run: (order, context) => guarded(() => driver.run(order, context)),
    health: (live, wanted, context) => guarded(() => driver.health(live, wanted, context)),
    readings: (context) => guarded(() => driver.readings(context)),
    readingsKept: (at, context) => guarded(() => driver.readingsKept(at, context)),
    drop: (instanceId, context) => guarded(() => driver.drop(instanceId, context)),
    destroy: (instanceId, context, names) =>
      guarded(() => driver.destroy(instanceId, context, names)),
  };
}
