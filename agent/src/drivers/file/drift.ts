/** What somebody changed of a file that the driver owns: content, mode, owner. Pure. */
import type { Difference, JsonObject, Live, Step, Wanted } from "../driver.ts";
import { restartSteps } from "./steps.ts";

const MODE_DEFAULT = "600";
const OWN_ACCOUNT = "the agent's own";

/** `live` from a look at everything: another one knows nothing of fields. */
export function driftOf(
  { fields, outputs, digest }: Live,
  { spec, digest: wantedDigest, releaseVersion }: Wanted,
): readonly Difference[] {
  if (fields === undefined) return [];
  const applied: JsonObject = {
    // What another rendering says is known once it is written.
    content: digest === wantedDigest ? (outputs["digest"] ?? "") : `as of ${releaseVersion}`,
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
  return driftOf(live, applied).length === 0 ? [] : restartSteps([live], applied);
}
