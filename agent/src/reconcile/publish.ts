/** Writes `outputs.json`: what the committed generation gives out, replaced as a whole. */
import { existsSync, readFileSync } from "node:fs";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { JsonObject } from "../drivers/driver.ts";
import { replaceFile } from "../store/atomic-file.ts";
import * as attempts from "../store/attempts.ts";
import { outputsFile } from "./published.ts";
import { renderOutputs } from "./rendering.ts";
import { findServing, type Target } from "./target.ts";
import { copiesOf, servingCopy, type Work } from "./work.ts";

/** What it wrote. Throws if a resource does not run at the moment: what was published before then stays. */
export async function publishOutputs(work: Work): Promise<JsonObject | undefined> {
  const target = findServing(work.store, work.instanceId);
  if (target === undefined) return undefined;
  const outputs = renderOutputs(target, await servingOutputs(work));
  writeOutputs(work, target, outputs);
  return outputs;
}

/** Outputs of the copies that serve now, by resource. */
export async function servingOutputs(work: Work): Promise<ReadonlyMap<string, JsonObject>> {
  const committed = attempts.findCommitted(work.store, work.instanceId);
  const outputs = new Map<string, JsonObject>();
  for (const { id, kind, digest } of committed?.resources ?? []) {
    const copies = copiesOf(
      await work.snapshots.of(work.instanceId, kind, "recorded"),
      work.instanceId,
      id,
    );
    const serving = servingCopy(copies, digest);
    if (serving !== undefined) outputs.set(id, serving.outputs);
  }
  return outputs;
}

export function writeOutputs(work: Work, target: Target, outputs: JsonObject): void {
  const { generation, releaseVersion: release } = target;
  const content = { generation: formatGeneration(generation), release, outputs };
  const text = `${JSON.stringify(content, undefined, 2)}\n`;
  const path = outputsFile(work.context.directories(work.instanceId).seatsFile);
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  replaceFile(path, text, 0o644);
  work.log.debug({ generation: content.generation }, "published");
}
