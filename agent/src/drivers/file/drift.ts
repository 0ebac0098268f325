/** What somebody changed of a file that the driver owns: content, mode, owner. Pure. */
import type { JsonObject, JsonValue, Live, Step, Wanted } from "../driver.ts";
import { restartSteps } from "./steps.ts";

export type Difference = Readonly<{ path: string; applied: JsonValue; live: JsonValue }>;

const MODE_DEFAULT = "600";
const OWN_ACCOUNT = "the agent's own";

/** `live` from a look at everything: another one knows nothing of fields. */
export function driftOf(
  live: Live & Readonly<{ fields?: JsonObject }>,
  { spec }: Wanted,
): readonly Difference[] {
  const { fields, outputs } = live;
  if (fields === undefined) return [];
  const applied: JsonObject = {
    content: outputs["digest"] ?? "",
    mode: String(spec["mode"] ?? MODE_DEFAULT).replace(/^0(?=...)/, ""),
    owner: spec["owner"] ?? OWN_ACCOUNT,
  };
  const found: JsonObject = { owner: OWN_ACCOUNT, ...fields };
  return Object.entries(applied).flatMap(([path, value]) => {
    const now = found[path] ?? "";
    return now === value ? [] : [{ path, applied: value, live: now }];
  });
}

/** Written again as a whole: content, mode and owner go together. */
export function revertSteps(live: Live, applied: Wanted): readonly Step[] {
  return restartSteps([live], applied);
}
