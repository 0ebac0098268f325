/** What somebody changed of a file that the driver owns: content, mode, owner. Pure. */
import { digestOf } from "@holdfast/shared/digest.ts";
import type { Difference, JsonObject, Live, Step, Wanted } from "../driver.ts";
import { restartSteps } from "./steps.ts";

const MODE_DEFAULT = "600";
const OWN_ACCOUNT = "the agent's own";

/** `live` from a look at everything: another one knows nothing of fields. */
export function driftOf(live: Live, wanted: Wanted): readonly Difference[] {
  const { fields } = live;
  const { spec } = wanted;
  if (fields === undefined) return [];
  const applied: JsonObject = {
    content: contentOf(live, wanted),
    mode: String(spec["mode"] ?? MODE_DEFAULT).replace(/^0(?=...)/, ""),
    owner: spec["owner"] ?? OWN_ACCOUNT,
  };
  const found: JsonObject = { owner: OWN_ACCOUNT, ...fields };
  return Object.entries(applied).flatMap(([path, value]) => {
    const now = found[path] ?? "";
    return now === value ? [] : [{ path, applied: value, live: now }];
  });
}

/** Of what was applied it is noted. Of another rendering only text without secrets can be told without reading anything. */
function contentOf({ digest, outputs }: Live, wanted: Wanted): string {
  if (digest === wanted.digest) return String(outputs["digest"] ?? "");
  const { content } = wanted.spec;
  const isText = typeof content === "string" && wanted.secretTexts?.includes("content") !== true;
  return isText ? digestOf(Buffer.from(content)) : `as of ${wanted.releaseVersion}`;
}

/** Written again as a whole: content, mode and owner go together. */
export function revertSteps(live: Live, applied: Wanted): readonly Step[] {
  return driftOf(live, applied).length === 0 ? [] : restartSteps([live], applied);
}
