/** Makes a vendor with its keys and its first owner, whose token is shown once. */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Wrapper } from "../secrets.ts";
import * as grants from "../store/access-grants.ts";
import * as apiTokens from "../store/api-tokens.ts";
import { hubContext, vendorContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import { MEMBERS } from "../store/object-tables.ts";
import { insert } from "../store/objects.ts";
import { readWithContext, withContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";
import { mintApiToken } from "./api-token.ts";
import { newId } from "./deps.ts";
import { record } from "./event.ts";
import { vendorKeys } from "./keyring.ts";

/** Of the first owner's token: long enough to set up other ways to sign in. */
const OWNER_TOKEN_LIFE_MS = 366 * 86_400_000;
const OWNER_NAME = "owner";

export type VendorDeps = Readonly<{ database: Database; wrapper: Wrapper; clock: Clock }>;

/**
 * Throws ALREADY_EXISTS `NAME_TAKEN`. `keepToken` is called before the commit: a token that cannot be kept
 * must not be the only one.
 */
export async function createVendor(
  { database, wrapper, clock }: VendorDeps,
  name: string,
  keepToken: (token: string) => Promise<void>,
): Promise<void> {
  const known = await readWithContext(database, hubContext("vendor"), vendors.list);
  if (known.some((each) => each.name === name)) {
    throw new Fault("ALREADY_EXISTS", "NAME_TAKEN", `vendor ${name}: the name is taken`);
  }
  const vendorId = newId(clock);
  await withContext(database, vendorContext(vendorId, "vendor"), async (tx) => {
    const now = clock.now();
    await vendors.insert(tx, { id: vendorId, name, displayName: "" });
    await vendorKeys(tx, wrapper, vendorId, now);
    const owner = { id: newId(clock), tenantId: NIL_UUID, name: OWNER_NAME };
    const fields = { display_name: "", service_account: false };
    await insert(tx, MEMBERS, { ...owner, annotations: {}, fields });
    await grants.replace(tx, owner, [{ id: newId(clock), role: "owner", expiresAt: null }]);
    const { text, secretHash } = mintApiToken(vendorId);
    await apiTokens.insert(tx, {
      id: newId(clock),
      tenantId: NIL_UUID,
      memberId: owner.id,
      description: "first owner",
      expiresAt: new Date(now + OWNER_TOKEN_LIFE_MS),
      secretHash,
    });
    const actor = { principal: "hub/vendor", permission: "", requestId: "" };
    const subject = { tenantId: NIL_UUID, id: vendorId, name, revision: 1n };
    await record(tx, actor, now, { verb: "created", kind: "vendor", subject });
    await keepToken(text);
  });
}

/** Whether the hub serves any vendor yet. */
export async function hasVendor({ database }: Pick<VendorDeps, "database">): Promise<boolean> {
  const known = await readWithContext(database, hubContext("vendor"), vendors.list);
  return known.length > 0;
}
