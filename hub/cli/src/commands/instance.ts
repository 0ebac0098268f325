/** `holdfast instance start|stop|resize`: changes of one part of an instance, whatever else changes meanwhile. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { kindOf } from "../kinds.ts";
import { modify } from "../modify.ts";
import { ObjectCalls } from "../object-calls.ts";
import { printChanged } from "../print-changed.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, waitFor } from "../wait.ts";

export type ChangeOptions = HubOptions &
  Readonly<{ dryRun?: "server"; wait?: boolean; timeout?: number }>;
export type ResizeOptions = ChangeOptions & Readonly<{ set?: readonly string[]; plan?: string }>;

export function start(terminal: Terminal, name: string, options: ChangeOptions): Promise<void> {
  return change(terminal, name, options, (spec) => ({ ...spec, runState: "RUN_STATE_RUNNING" }));
}

export function stop(terminal: Terminal, name: string, options: ChangeOptions): Promise<void> {
  return change(terminal, name, options, (spec) => ({ ...spec, runState: "RUN_STATE_STOPPED" }));
}

export async function resize(
  terminal: Terminal,
  name: string,
  options: ResizeOptions,
): Promise<void> {
  const { set = [], plan } = options;
  if (set.length === 0 && plan === undefined) {
    throw new Fault("INVALID_ARGUMENT", "USAGE", "nothing to change: give --set or --plan");
  }
  const values = Object.fromEntries(set.map(parameterOf));
  await change(terminal, name, options, (spec) => ({
    ...spec,
    ...(plan !== undefined && { plan }),
    parameters: { ...(spec["parameters"] as JsonObject | undefined), ...values },
  }));
}

async function change(
  terminal: Terminal,
  name: string,
  options: ChangeOptions,
  next: (spec: JsonObject) => JsonObject,
): Promise<void> {
  const kind = kindOf("instance");
  const isDryRun = options.dryRun === "server";
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const { tenant } = hub.context;
    const changed = await modify(terminal, calls, { name, tenant, isDryRun }, next);
    await printChanged(terminal, new Sensitive(hub), { kind, name, ...changed }, options);
    if (options.wait !== true || isDryRun) return;
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    await waitFor(terminal, calls, { name, tenant, timeoutMs }, "progress");
    const isStopped = next({})["runState"] === "RUN_STATE_STOPPED";
    terminal.err(`instance/${name}: ${isStopped ? "stopped" : "serves"}\n`);
  });
}

/** `batchRows=1000`: numbers, true, false, null and JSON are taken as such, all else as text. */
function parameterOf(given: string): readonly [string, JsonValue] {
  const split = given.indexOf("=");
  if (split <= 0) {
    const message = `--set: got ${shown(given)}; allowed: PARAMETER=VALUE`;
    throw new Fault("INVALID_ARGUMENT", "USAGE", message);
  }
  const text = given.slice(split + 1);
  try {
    return [given.slice(0, split), JSON.parse(text)];
  } catch {
    return [given.slice(0, split), text];
  }
}
