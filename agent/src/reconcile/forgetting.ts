/**
 * Forgets instances that were removed long ago and of which nothing is kept on this host, so that neither the store nor the
 * looks at it grow with all that ever was. What keeps data stays known for as long as the data is there: an order to destroy
 * it names the instance.
 */
import { rmdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { DriverContext } from "../drivers/driver.ts";
import { outputFolder } from "../output/outputs.ts";
import type { Store } from "../store/database.ts";
import * as removed from "../store/removed.ts";
import type { KeptLooks } from "./kept.ts";

type Ground = Readonly<{
  store: Store;
  clock: Clock;
  context: DriverContext;
  kept: Pick<KeptLooks, "mayHave">;
}>;

/** Those that were forgotten: what is due, or the one that is gone the longest, to make room for another. */
export function forgetRemoved(its: Ground, room: "due" | "one"): readonly string[] {
  const { store, clock, kept } = its;
  const before = clock.now() - (room === "due" ? removed.REMOVED_KEPT_MS : 0);
  const free = removed.list(store, before).filter((instanceId) => !kept.mayHave(instanceId));
  const forgotten = room === "due" ? free : free.slice(0, 1);
  for (const instanceId of forgotten) {
    removeFolders(its, instanceId);
    removed.forget(store, instanceId);
  }
  if (room === "due") {
    removed.forgetRefusals(store, before);
    removed.forgetSeries(store, before);
  }
  return forgotten;
}

/** Where something is in them after all, they stay. */
function removeFolders({ context }: Ground, instanceId: string): void {
  const { run, logs, data } = context.directories(instanceId);
  rmSync(outputFolder(run), { recursive: true, force: true });
  for (const path of [run, logs, data, dirname(data)]) {
    try {
      rmdirSync(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOENT") throw error;
    }
  }
}
