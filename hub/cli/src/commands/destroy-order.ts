/**
 * `holdfast destroy-order sign|submit`: permission to destroy data, signed with a key that the hub does not have. What is
 * signed is shown with its ids before, since the hub that tells them may have been taken over.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { DestroyOrderSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { DESTROY_LIFE_MS_MAX, DESTROY_ORDER_BYTES_MAX } from "@holdfast/shared/destroy-order.ts";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { formatGeneration, type Generation, generationOf } from "@holdfast/shared/generation.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { HubClient } from "../hub-client.ts";
import { readSigningKey, writeNew } from "../key-file.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { createAndWait } from "./action.ts";
import { allKept } from "./kept-data.ts";

const TTL_MS_DEFAULT = 7 * 86_400_000;

export type SignOptions = HubOptions &
  Readonly<{ key: string; out: string; ttl?: number; yes?: boolean }>;

type Subject = Readonly<{
  instanceId: string;
  instance: string;
  cellId: string;
  generation: Generation;
  kept: readonly string[];
}>;

export async function signOrder(
  terminal: Terminal,
  instance: string,
  names: readonly string[],
  options: SignOptions,
): Promise<void> {
  const ttl = options.ttl ?? TTL_MS_DEFAULT;
  if (ttl > DESTROY_LIFE_MS_MAX) {
    throw new Fault("INVALID_ARGUMENT", "USAGE", "--ttl: an order is good for at most 30d");
  }
  const key = await readSigningKey(options.key, terminal);
  await withHub(terminal, options, async (hub) => {
    const { vendorId } = await hub.call(() => hub.client(HubService).getHub({}));
    const subject = await subjectOf(hub, instance);
    const now = terminal.clock.now();
    const expire = now + ttl;
    terminal.err(shownOrder(subject, names, expire));
    await confirm(terminal, subject, options);
    const order = create(DestroyOrderSchema, {
      ...{ vendorId, cellId: subject.cellId, instanceId: subject.instanceId },
      ...{ generation: subject.generation, names: [...names] },
      signTime: timestampFromMs(now),
      expireTime: timestampFromMs(expire),
      nonce: Buffer.from(terminal.randomUuid()),
    });
    const envelope = signEnvelope("destroy", toBinary(DestroyOrderSchema, order), [key]);
    const text = JSON.stringify(toJson(EnvelopeSchema, envelope), undefined, 2);
    await writeNew(options.out, `${text}\n`, terminal);
    terminal.out(`${options.out}\n`);
  });
}

/** What is kept, or else an instance whose attempt waits for a permission. Throws NOT_FOUND. */
async function subjectOf(hub: HubClient, instance: string): Promise<Subject> {
  const rows = await allKept(hub, { instance });
  const ids = new Set(rows.map(({ instanceId }) => instanceId));
  if (ids.size > 1) {
    const message = `instance ${shown(instance)}: ${ids.size} instances had this name; give the id`;
    const next = `holdfast kept-data list --instance ${instance}`;
    throw new Fault("INVALID_ARGUMENT", "NAME_AMBIGUOUS", message, { next });
  }
  const [row] = rows;
  if (row !== undefined) {
    const { instanceId, cellId, generation } = row;
    const kept = rows.map(({ name }) => name);
    const named = { instanceId, instance: row.instance, cellId, kept };
    return { ...named, generation: generationOf(generation) };
  }
  const tenant = hub.context.tenant ?? "";
  const found = await hub.call(() => hub.client(InstanceService).getInstance({ instance, tenant }));
  const { metadata, status } = found.instance ?? {};
  return {
    ...{ instanceId: metadata?.id ?? "", instance: metadata?.name ?? "", kept: [] },
    ...{ cellId: status?.cellId ?? "", generation: generationOf(status?.generation) },
  };
}

function shownOrder(subject: Subject, names: readonly string[], expire: number): string {
  const { instance, instanceId, cellId, generation, kept } = subject;
  const all = kept.length === 0 ? "all that is kept" : `all that is kept: ${kept.join(", ")}`;
  return [
    "this order lets the agent destroy, for ever:",
    `  data        ${names.length === 0 ? all : names.join(", ")}`,
    `  of instance ${instance} (${instanceId}) at generation ${formatGeneration(generation)}`,
    `  in cell     ${cellId}`,
    `  good until  ${new Date(expire).toISOString()}`,
    "",
  ].join("\n");
}

async function confirm(
  terminal: Terminal,
  { instance }: Subject,
  { yes }: SignOptions,
): Promise<void> {
  if (yes === true) return;
  if (!terminal.isInteractive) {
    const message = "destroy-order sign: nobody is there to be asked; --yes says that it is meant";
    throw new Fault("INVALID_ARGUMENT", "NOT_CONFIRMED", message);
  }
  const typed = await terminal.ask(`Type ${instance} to sign it: `);
  if (typed.trim() === instance) return;
  throw new Fault("CANCELLED", "NOT_CONFIRMED", "nothing was signed: the name was not typed");
}

export type SubmitOptions = HubOptions & Readonly<{ wait?: boolean; timeout?: number }>;

export async function submitOrder(
  terminal: Terminal,
  file: string,
  options: SubmitOptions,
): Promise<void> {
  const destroyOrder = await readOrder(terminal, file);
  await withHub(terminal, options, async (hub) => {
    const { instanceId } = fromBinary(DestroyOrderSchema, destroyOrder.payload);
    const asked = { kind: ActionKind.DESTROY, instance: instanceId, destroyOrder };
    await createAndWait(terminal, hub, asked, options);
  });
}

async function readOrder(terminal: Terminal, file: string): Promise<Envelope> {
  let text: string;
  try {
    text = await readFile(resolve(terminal.workingDirectory, file), "utf8");
  } catch (error) {
    throw unreadable("destroy order", file, error);
  }
  try {
    if (text.length > 2 * DESTROY_ORDER_BYTES_MAX) throw new RangeError("too long");
    const envelope = fromJson(EnvelopeSchema, JSON.parse(text) as JsonValue);
    fromBinary(DestroyOrderSchema, envelope.payload);
    return envelope;
  } catch (error) {
    const message = `${shown(file)}: it is no destroy order`;
    const next = "holdfast destroy-order sign INSTANCE --key FILE --out FILE";
    throw new Fault("INVALID_ARGUMENT", "ORDER_MALFORMED", message, { next, cause: error });
  }
}
