/** `holdfast tenant|cell|subscription create` and `subscription move`: the usual changes without a manifest. */
import type { JsonObject } from "@bufbuild/protobuf";
import { Fault } from "@holdfast/shared/fault.ts";
import { at, textAt } from "../format.ts";
import { kindOf } from "../kinds.ts";
import { fitToSchema } from "../manifest-shape.ts";
import { modify } from "../modify.ts";
import { ObjectCalls } from "../object-calls.ts";
import { printChanged } from "../print-changed.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type CreateOptions = HubOptions & Readonly<{ dryRun?: "server" }>;

/** `spec` holds what was given; undefined values are left out. Throws ALREADY_EXISTS `NAME_TAKEN`. */
export async function create(
  terminal: Terminal,
  word: string,
  name: string,
  spec: Readonly<Record<string, unknown>>,
  options: CreateOptions,
): Promise<void> {
  const kind = kindOf(word);
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const { tenant } = hub.context;
    const metadata = { name, ...(kind.isTenants && tenant !== undefined && { tenant }) };
    const given = Object.entries(spec).filter(([, value]) => value !== undefined);
    const { schema } = await kind.load();
    const document = { metadata, spec: Object.fromEntries(given) } as JsonObject;
    const object = fitToSchema(schema, document, (path, message) => {
      throw new Fault("INVALID_ARGUMENT", "USAGE", `${path}: ${message}`);
    });
    const isDryRun = options.dryRun === "server";
    const after = await calls.create(object, { requestId: terminal.randomUuid(), isDryRun });
    const made = { kind, name, before: undefined, after };
    await printChanged(terminal, new Sensitive(hub), made, options);
  });
}

export type MoveOptions = CreateOptions & Readonly<{ plan?: string; planVersion?: number }>;

/** To the newest version of its plan, or to what was named. */
export async function moveSubscription(
  terminal: Terminal,
  name: string,
  options: MoveOptions,
): Promise<void> {
  const kind = kindOf("subscription");
  await withHub(terminal, options, async (hub) => {
    const calls = await ObjectCalls.of(kind, hub);
    const plans = await ObjectCalls.of(kindOf("plan"), hub);
    const { tenant } = hub.context;
    const plan = options.plan ?? textAt(await calls.get(name, tenant), "spec.plan");
    const newest = Number(at(await plans.get(plan, undefined), "status.version") ?? 0);
    const planVersion = options.planVersion ?? newest;
    const target = { name, tenant, isDryRun: options.dryRun === "server" };
    const moved = await modify(terminal, calls, target, (spec) => ({ ...spec, plan, planVersion }));
    await printChanged(terminal, new Sensitive(hub), { kind, name, ...moved }, options);
  });
}
