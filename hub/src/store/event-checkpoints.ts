/** Table event_checkpoint: signed heads of all chains of a vendor, so that a rewritten past does not fit. */
import type { Tx } from "./tx.ts";

export type CheckpointRow = Readonly<{
  /** The feed position that it covers. */
  position: bigint;
  /** The exact text that was signed: one line for each chain, tenant, position and hash in hex. */
  body: string;
  keyId: string;
  signature: Uint8Array;
  createdAt: Date;
}>;

const CHAINS_MAX = 100_000;

/** The text to sign now, and the position it covers; undefined before the first event. */
export async function draft(tx: Tx): Promise<Pick<CheckpointRow, "position" | "body"> | undefined> {
  const [feed] = await tx.query<{ position: bigint }>("select position from event_feed_head");
  if (feed === undefined) return undefined;
  const chains = await tx.query<{ line: string }>(
    `select tenant_id || ' ' || position || ' ' || encode(hash, 'hex') as line
       from event_head order by tenant_id limit ${CHAINS_MAX}`,
  );
  const head = `holdfast.checkpoint.v1 ${tx.context.vendorId} ${feed.position}`;
  return {
    position: feed.position,
    body: `${[head, ...chains.map(({ line }) => line)].join("\n")}\n`,
  };
}

/** False when there is one for this position already. */
export async function insert(tx: Tx, row: Omit<CheckpointRow, "createdAt">): Promise<boolean> {
  const rows = await tx.query(
    `insert into event_checkpoint (position, body, key_id, signature) values ($1, $2, $3, $4)
     on conflict (vendor_id, tenant_id, position) do nothing returning 1`,
    [row.position, row.body, row.keyId, row.signature],
  );
  return rows.length > 0;
}

export async function newest(tx: Tx): Promise<CheckpointRow | undefined> {
  const rows = await tx.query<CheckpointRow>(
    `select position, body, key_id as "keyId", signature, created_at as "createdAt"
       from event_checkpoint order by position desc limit 1`,
  );
  return rows[0];
}
