/**
 * Whether workloads of the agent before are still being adopted. Until then the last readings of copies that have
 * ended are kept by whoever counted them, since nobody here can say yet whose they are.
 */
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";

/** Over for good once every instance that is to run here is committed. */
export function isAdopting(store: Store): boolean {
  if (!facts.isAdopting(store)) return false;
  const held = assignments.list(store);
  const isOpen = ({ instanceId, removed }: assignments.HeldAssignment) =>
    !removed && attempts.findCommitted(store, instanceId) === undefined;
  if (held.length === 0 || held.some(isOpen)) return true;
  facts.endAdopting(store);
  return false;
}
