/** At which generation each resource is after an attempt that had no way back. Pure: from what the journal said. */
import { formatGeneration, type Generation } from "@holdfast/shared/generation.ts";
import type { Committed, ResourceTruth, ShownStep } from "../store/attempts.ts";

export type TruthInput = Readonly<{
  generation: Generation;
  steps: readonly ShownStep[];
  committed: Pick<Committed, "generation" | "resources"> | undefined;
}>;

/** Of the resources that serve and of those that the attempt was about, by id. */
export function truthOf({ generation, steps, committed }: TruthInput): readonly ResourceTruth[] {
  const due = steps.filter(({ when }) => when === "before-commit");
  const served = committed?.resources.map(({ id }) => id) ?? [];
  const ids = [...new Set([...served, ...due.map(({ resource }) => resource)])].sort();
  return ids.map((id): ResourceTruth => {
    const own = due.filter(({ resource }) => resource === id);
    const touched = own.filter(({ state }) => state !== "PLANNED" && state !== "UNDONE");
    if (touched.length === 0) {
      const before = served.includes(id) ? committed?.generation : undefined;
      return { id, at: "BEFORE", generation: before, message: "" };
    }
    const open = own.find(({ state }) => state !== "DONE");
    if (open === undefined) return { id, at: "WANTED", generation, message: "" };
    const { message } = own.find(({ state }) => state === "FAILED") ?? open;
    return { id, at: "BETWEEN", generation, message: message || `${open.id} was not done` };
  });
}

/** One clause for each, such as `db at 1.2, web at 1.1, worker between`. */
export function truthText(truth: readonly ResourceTruth[]): string {
  return truth.map(({ id, at, generation }) => `${id} ${placeOf(at, generation)}`).join(", ");
}

function placeOf(at: ResourceTruth["at"], generation: Generation | undefined): string {
  if (generation === undefined) return "not there";
  const text = formatGeneration(generation);
  return at === "BETWEEN" ? `on its way to ${text}` : `at ${text}`;
}
