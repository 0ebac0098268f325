/**
 * `holdfast rehearse -f FILE`, `holdfast rehearse NAME --release V`: what a change would do on its agent. Nothing is
 * done. The exit code is 9 where the customer's rules would hold it, and 0 where they would not.
 */
import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  InstanceSchema,
  InstanceService,
  type RehearseInstanceResponse,
  RehearseInstanceResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { StepClass } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { REASON } from "../exit-codes.ts";
import { at } from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import { kindOf } from "../kinds.ts";
import { readManifests } from "../manifest.ts";
import { ObjectCalls, type ObjectView } from "../object-calls.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type RehearseOptions = HubOptions & Readonly<{ file?: string; release?: string }>;

export async function rehearse(
  terminal: Terminal,
  name: string | undefined,
  options: RehearseOptions,
): Promise<void> {
  checkAsked(name, options);
  const { file, output = "table" } = options;
  const manifests = file === undefined ? [] : await readManifests([file], terminal);
  await withHub(terminal, options, async (hub) => {
    const candidates =
      name === undefined
        ? manifests.map(({ kind, object, source }) => instanceOf(kind.name, object, source))
        : [await changed(hub, name, options.release ?? "")];
    const holds: string[] = [];
    for (const candidate of candidates) {
      const instance = fromJson(InstanceSchema, candidate as JsonValue);
      const answer = await hub.call(() =>
        hub.client(InstanceService).rehearseInstance({ instance }),
      );
      await print(terminal, answer, output);
      holds.push(...answer.holds);
    }
    const [first] = holds;
    if (first === undefined) return;
    const message = `the customer's rules would hold it: ${first}`;
    throw new Fault("FAILED_PRECONDITION", REASON.held, message);
  });
}

function checkAsked(name: string | undefined, { file, release }: RehearseOptions): void {
  const isChange = name !== undefined && release !== undefined && file === undefined;
  const isFile = name === undefined && release === undefined && file !== undefined;
  if (isChange || isFile) return;
  const rule = "either -f FILE, or the name of an instance with --release";
  throw new Fault("INVALID_ARGUMENT", "USAGE", `rehearse: wants ${rule}`);
}

function instanceOf(kind: string, object: ObjectView, source: string): ObjectView {
  if (kind === "instance") return object;
  const message = `${source}: a ${kind} cannot be rehearsed; instances can`;
  throw new Fault("INVALID_ARGUMENT", "MANIFEST_INVALID", message);
}

/** The instance as it is wanted now, at another release. */
async function changed(hub: HubClient, name: string, release: string): Promise<ObjectView> {
  const calls = await ObjectCalls.of(kindOf("instance"), hub);
  const present = await calls.get(name, hub.context.tenant);
  const metadata = at(present, "metadata") as JsonObject;
  const { name: known = name, tenant = "", labels = {}, annotations = {} } = metadata;
  const spec = { ...(at(present, "spec") as JsonObject), release };
  return { metadata: { name: known, tenant, labels, annotations }, spec };
}

async function print(
  terminal: Terminal,
  answer: RehearseInstanceResponse,
  form: OutputForm,
): Promise<void> {
  const view = toJson(RehearseInstanceResponseSchema, answer) as JsonObject;
  const name = answer.instance?.metadata?.name ?? "";
  if (form === "json") terminal.out(jsonText(view));
  else if (form === "yaml") terminal.out(await yamlText(view));
  else if (form === "name") terminal.out(`instance/${name}\n`);
  else terminal.out(linesOf(name, answer).join(""));
}

function linesOf(name: string, answer: RehearseInstanceResponse): readonly string[] {
  const { isNew, cell, steps, holds, missing, notAtomic, stepsDigest } = answer;
  const what = isNew ? "would be created" : steps.length > 0 ? "would change" : "would stay";
  return [
    `instance/${name} ${what} in cell ${cell}\n`,
    ...steps.map(({ summary, stepClass }) => `  would ${summary}${classText(stepClass)}\n`),
    ...notAtomic.map((line) => `  not without a gap: ${line}\n`),
    ...holds.map((line) => `  held by ${line}\n`),
    ...missing.map((line) => `  missing: ${line}\n`),
    ...(stepsDigest === "" || steps.length === 0 ? [] : [`  steps ${stepsDigest}\n`]),
  ];
}

/** Reversible is what one expects. */
function classText(stepClass: StepClass): string {
  if (stepClass === StepClass.REVERSIBLE) return "";
  return ` (${(StepClass[stepClass] ?? "").toLowerCase()})`;
}
