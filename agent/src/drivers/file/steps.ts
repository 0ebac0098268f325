/**
 * What is to be done about one file resource. Pure: the same copies and wishes give the same steps with the same
 * names, so that a journal written before a crash finds again what was begun.
 *
 *   nothing is there              write
 *   the wanted digest is there    nothing; whatever else is left is removed after the commit
 *   another digest is there       write over it, which sets it aside; commit; remove what was set aside
 *   at another path               write; commit; remove the old one
 *   the wanted one is gone        write again
 */
import type { JsonObject, Live, Step, StepOrder, Wanted } from "../driver.ts";
import { nextNumber, stemOf } from "../handles.ts";
import { DRIVER_KIND } from "./host.ts";

/** A write of 64 MiB to a slow disk. */
const STEP_MS = 120_000;
const LEFT = "what is left of";

export function stepsFor(
  live: readonly Live[],
  last: Wanted | undefined,
  wanted: Wanted | undefined,
): readonly Step[] {
  const copies = copiesOf(live, wanted ?? last);
  if (wanted === undefined) return copies.map((copy) => removeLater(copy, "the file of"));
  const kept = copies.findLast(
    ({ digest, phase }) => digest === wanted.digest && phase === "running",
  );
  const others = copies.filter((copy) => copy !== kept);
  const removals = others.map((copy) => removeLater(copy, LEFT));
  return kept === undefined ? [write(wanted, copies, isThere(copies)), ...removals] : removals;
}

/** Written anew in place of the one that is there, because somebody asked for it. */
export function restartSteps(live: readonly Live[], wanted: Wanted): readonly Step[] {
  const copies = copiesOf(live, wanted);
  return [
    write(wanted, copies, "as was asked for"),
    ...copies.map((copy) => removeLater(copy, LEFT)),
  ];
}

function copiesOf(live: readonly Live[], of: Wanted | undefined): readonly Live[] {
  return live.filter(({ key }) => {
    const own = of?.key ?? key;
    return key.instanceId === own.instanceId && key.resourceId === own.resourceId;
  });
}

function isThere(copies: readonly Live[]): string {
  if (copies.some(({ phase }) => phase === "running")) return "in place of the old one";
  const gone = copies.find(({ phase }) => phase === "exited");
  return gone === undefined ? "" : `again (${gone.message})`;
}

function write(wanted: Wanted, copies: readonly Live[], how: string): Step {
  const { key, digest, releaseVersion, spec } = wanted;
  const stem = stemOf(wanted);
  const handle = `${stem}${nextNumber(
    stem,
    copies.map((copy) => copy.handle),
  )}`;
  const what = `${key.resourceId} of ${releaseVersion} (${String(spec["path"])})`;
  const undo = removeOrder(key.resourceId, key.instanceId, handle, { back: true });
  return {
    ...orderOf(key.resourceId, "write"),
    input: { instance: key.instanceId, handle, digest },
    id: `${key.resourceId}/write`,
    class: "reversible",
    when: "before-commit",
    summary: ["write", what, how].filter((part) => part !== "").join(" "),
    msMax: STEP_MS,
    undo: { ...undo, summary: `put back what stood at the path of ${what}`, msMax: STEP_MS },
  };
}

function removeLater({ key, handle }: Live, what: string): Step {
  const { resourceId, instanceId } = key;
  return {
    ...removeOrder(resourceId, instanceId, handle, {}),
    id: `${resourceId}/remove/${handle}`,
    class: "reversible",
    when: "after-commit",
    summary: `remove ${what} the old ${resourceId} (${handle})`,
    msMax: STEP_MS,
  };
}

function removeOrder(
  resourceId: string,
  instance: string,
  handle: string,
  more: JsonObject,
): StepOrder {
  return { ...orderOf(resourceId, "remove"), input: { instance, handle, ...more } };
}

function orderOf(resourceId: string, verb: string) {
  return { resourceId, kind: DRIVER_KIND, verb };
}
