/** The kinds of resources that a release may hold. */
import { CONTAINER_KIND } from "./container.ts";
import { FILE_KIND } from "./file.ts";
import { JOB_KIND } from "./job.ts";
import type { KindRules } from "./kind.ts";
import { PROCESS_KIND } from "./process.ts";

const KINDS: readonly KindRules[] = [PROCESS_KIND, CONTAINER_KIND, FILE_KIND, JOB_KIND];

export const KIND_NAMES: readonly string[] = KINDS.map(({ kind }) => kind);

export function kindRules(kind: string): KindRules | undefined {
  return KINDS.find((each) => each.kind === kind);
}

/** The drivers that a resource needs: that of its kind first. */
export function driversFor({
  kind,
  spec,
}: Readonly<{
  kind: string;
  spec?: Readonly<Record<string, unknown>> | undefined;
}>): readonly string[] {
  return [kind, ...(kindRules(kind)?.alsoNeeds?.(spec ?? {}) ?? [])];
}
