/** Records of attempts as text: numbers of generations are larger than JSON keeps. Reads what older agents wrote. */
import type { Generation } from "@holdfast/shared/generation.ts";
import type { AttemptRecord, ResourceTruth, ShownStep } from "./attempt-types.ts";

type GenerationText = Readonly<{ incarnation: string; number: string }>;
type TruthText = Omit<ResourceTruth, "generation"> & Readonly<{ generation?: GenerationText }>;

/** What the columns of a record do not hold. */
export type More = Pick<AttemptRecord, "stepsDigest" | "resources" | "outputs">;

export function moreText({ stepsDigest, resources, outputs }: More): string {
  return JSON.stringify({ stepsDigest, resources: resources?.map(truthText), outputs });
}

export function moreOf(text: string): More {
  return moreFrom(JSON.parse(text) as Parameters<typeof moreFrom>[0]);
}

export function recordText(record: AttemptRecord): string {
  const { generation, resources, ...rest } = record;
  return JSON.stringify({
    ...rest,
    generation: generationText(generation),
    resources: resources?.map(truthText),
  });
}

export function recordOf(text: string): AttemptRecord {
  const { generation, resources, outputs, stepsDigest, ...rest } = JSON.parse(text);
  return {
    ...rest,
    ...moreFrom({ stepsDigest, resources, outputs }),
    steps: stepsFrom(rest.steps),
    endedAt: rest.endedAt ?? undefined,
    generation: generationOf(generation),
  };
}

export function stepsOf(text: string): readonly ShownStep[] {
  return stepsFrom(JSON.parse(text) as readonly ShownStep[]);
}

/** Steps of 0.1 say less. */
function stepsFrom(steps: readonly ShownStep[]): readonly ShownStep[] {
  const defaults = { resource: "", class: "reversible", when: "before-commit", undo: "" } as const;
  return steps.map((step) => ({ ...defaults, ...step }));
}

function moreFrom({
  stepsDigest = "",
  resources,
  outputs,
}: Readonly<{
  stepsDigest?: string;
  resources?: readonly TruthText[];
  outputs?: AttemptRecord["outputs"];
}>): More {
  return {
    stepsDigest,
    ...(resources !== undefined && { resources: resources.map(truthOf) }),
    ...(outputs !== undefined && { outputs }),
  };
}

function truthText({ generation, ...rest }: ResourceTruth): TruthText {
  return { ...rest, ...(generation !== undefined && { generation: generationText(generation) }) };
}

function truthOf({ generation, ...rest }: TruthText): ResourceTruth {
  return { ...rest, generation: generation === undefined ? undefined : generationOf(generation) };
}

function generationText({ incarnation, number }: Generation): GenerationText {
  return { incarnation: String(incarnation), number: String(number) };
}

function generationOf({ incarnation, number }: GenerationText): Generation {
  return { incarnation: BigInt(incarnation), number: BigInt(number) };
}
