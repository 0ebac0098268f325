/**
 * The digest of a step list with its typed holes: what an approval binds to ("approve what you saw"). Pure. All that
 * a step says counts, also what is added to steps later; only times do not, since they change while nothing else does.
 */
import type { JsonValue } from "@bufbuild/protobuf";
import { canonicalJson } from "@holdfast/shared/blueprint/rendered-digest.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import type { Plan } from "./plan.ts";

export function stepsDigestOf({ steps, renderings, open }: Plan): string {
  const content = {
    v: 1,
    steps: steps.map(({ notBefore: _, msMax: __, ...step }) => step),
    resources: renderings.map(({ resourceId, kind, digest }) => {
      const holes = open.get(resourceId) ?? [];
      return { resourceId, kind, digest, holes: holes.map(({ path, type }) => ({ path, type })) };
    }),
  };
  return digestOf(Buffer.from(canonicalJson(JSON.parse(JSON.stringify(content)) as JsonValue)));
}
