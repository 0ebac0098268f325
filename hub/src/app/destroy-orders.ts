/**
 * Destroy orders on their way through the hub, which keeps them and hands them on. Whether one is good the agent judges
 * by keys that no hub has; what is refused here is refused early, for the caller's sake, and never the other way round.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type DestroyOrder,
  DestroyOrderSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import {
  DESTROY_LIFE_MS_MAX,
  DESTROY_NAMES_MAX,
  DESTROY_ORDER_BYTES_MAX,
} from "@holdfast/shared/destroy-order.ts";
import { openEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { compareGenerations, formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { INSTANCES } from "../store/object-tables.ts";
import { findEver, type ObjectRow } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import { keysOfPurpose } from "./key-sets.ts";
import { notFound } from "./reference.ts";
import { refuse } from "./refusal.ts";

export type GivenOrder = Readonly<{
  row: ObjectRow;
  /** A serialised envelope. */
  bytes: Uint8Array;
  /** Empty: all that is kept. */
  names: readonly string[];
  notAfter: Date;
}>;

/** Throws INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED for the signature, FAILED_PRECONDITION for what it names. */
export async function readOrder(
  tx: Tx,
  envelope: Envelope | undefined,
  now: number,
): Promise<GivenOrder> {
  const path = "destroy_order";
  if (envelope === undefined)
    throw refuse(path, "an action of kind DESTROY needs one", "ORDER_MISSING");
  const bytes = toBinary(EnvelopeSchema, envelope);
  if (bytes.length > DESTROY_ORDER_BYTES_MAX) {
    const message = `got ${bytes.length} bytes; at most ${DESTROY_ORDER_BYTES_MAX}`;
    throw refuse(path, message, "ORDER_SIZE");
  }
  const keys = await keysOfPurpose(tx, KeyPurpose.DESTROY);
  if (keys.length === 0) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "DESTROY_KEYS_MISSING",
      "the vendor has no destroy keys yet; agents would refuse every order",
      { next: "holdfast key set --purpose destroy --key FILE --sign-with RELEASE_KEY_FILE" },
    );
  }
  const { payload } = openEnvelope("destroy", envelope, keys);
  const order = decoded(payload);
  const row = await instanceOf(tx, order);
  const notAfter = order.expireTime === undefined ? new Date(0) : timestampDate(order.expireTime);
  const left = notAfter.getTime() - now;
  if (left <= 0 || left > DESTROY_LIFE_MS_MAX) {
    const message = `got ${notAfter.toISOString()}; allowed: after now, at most 30 days`;
    throw refuse(`${path}.expire_time`, message, "ORDER_EXPIRED");
  }
  if (order.names.length > DESTROY_NAMES_MAX) {
    const message = `got ${order.names.length}; at most ${DESTROY_NAMES_MAX}`;
    throw refuse(`${path}.names`, message, "ORDER_NAMES");
  }
  return { row, bytes, names: order.names, notAfter };
}

function decoded(payload: Uint8Array): DestroyOrder {
  try {
    return fromBinary(DestroyOrderSchema, payload);
  } catch {
    throw refuse("destroy_order.payload", "it is no destroy order", "ORDER_MALFORMED");
  }
}

async function instanceOf(tx: Tx, order: DestroyOrder): Promise<ObjectRow> {
  const { instanceId, cellId, vendorId } = order;
  const id = uuidOf("instance", instanceId, "destroy_order.instance_id");
  const row = await findEver(tx, INSTANCES, id, false);
  const isElsewhere =
    row === undefined ||
    vendorId !== idOf("vendor", tx.context.vendorId) ||
    cellId !== idOf("cell", String(row.fields["cell_id"]));
  if (isElsewhere) throw notFound({ kind: "instance", text: instanceId });
  const generation = {
    incarnation: BigInt(row.fields["assigned_incarnation"] as bigint),
    number: BigInt(row.fields["assigned_number"] as bigint),
  };
  const named = generationOf(order.generation);
  if (compareGenerations(named, generation) === 0) return row;
  throw new Fault(
    "FAILED_PRECONDITION",
    "ORDER_GENERATION",
    `destroy_order.generation: got ${formatGeneration(named)}; the instance is at ${formatGeneration(generation)}`,
    { next: `holdfast kept-data list --instance ${instanceId}` },
  );
}
