/** Ticket keys: replaced when their time is over, the same in all processes of a hub, also when two replace them at once. */
import { randomBytes } from "node:crypto";
import { systemClock } from "@holdfast/shared/clock.ts";
import { beforeEach, describe, expect, it } from "vitest";
import { wrapperOf } from "../secrets.ts";
import { withClient } from "../store/database.ts";
import { useTestStore } from "../store/testing.ts";
import { type Keyring, openKeyring, TICKET_KEYS_LIFE_MS } from "./keyring.ts";

const store = useTestStore();
const wrapper = wrapperOf(randomBytes(32));
let first: Keyring;
let second: Keyring;

const process = () => openKeyring({ database: store().database, wrapper, clock: systemClock });
const asOwner = <Row>(sql: string, ...values: unknown[]) =>
  withClient(store().cluster.owner, "test", async (client) => {
    return (await client.query(sql, values)).rows as Row[];
  });
const keys = (keyring: Keyring) => Buffer.from(keyring.ticketKeys).toString("hex");

/** As if the present ones had been made so long ago. */
async function age(ms: number): Promise<void> {
  const sql = "update hub_secret set created_at = now() - $1 * interval '1 ms' where name = $2";
  await asOwner(sql, ms, "ticket-keys");
}

beforeEach(async () => {
  [first, second] = [await process(), await process()];
});

describe("ticket keys", () => {
  it("are the same in two processes, and stay while their time lasts", async () => {
    const before = keys(first);
    expect(keys(second)).toBe(before);
    await age(TICKET_KEYS_LIFE_MS - 60_000);
    expect(await first.renewTicketKeys()).toBe(false);
    expect(keys(first)).toBe(before);
  });

  it("are replaced after a day, and the other process takes the new ones", async () => {
    const before = keys(first);
    await age(TICKET_KEYS_LIFE_MS);
    expect(await first.renewTicketKeys()).toBe(true);
    expect(keys(first)).not.toBe(before);
    expect(keys(second)).toBe(before);
    expect(await second.renewTicketKeys()).toBe(true);
    expect(keys(second)).toBe(keys(first));
    expect(await first.renewTicketKeys()).toBe(false);
    expect(keys(await process())).toBe(keys(first));
  });

  it("are replaced once by two that come at once", async () => {
    await age(TICKET_KEYS_LIFE_MS);
    expect(await Promise.all([first.renewTicketKeys(), second.renewTicketKeys()])).toEqual([
      true,
      true,
    ]);
    expect(keys(second)).toBe(keys(first));
  });

  it("that were replaced are forgotten but for the last two", async () => {
    for (let round = 0; round < 4; round++) {
      await age(TICKET_KEYS_LIFE_MS);
      await first.renewTicketKeys();
    }
    const sql = "select version from hub_secret where name = $1 order by version";
    const versions = await asOwner<{ version: bigint }>(sql, "ticket-keys");
    const last = versions.at(-1)?.version ?? 0n;
    expect(versions.map(({ version }) => version)).toEqual([last - 2n, last - 1n, last]);
  });
});
