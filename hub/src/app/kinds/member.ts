/** Members: people and service accounts of the vendor or of a tenant, and the roles that they hold. */
import { isDeepStrictEqual } from "node:util";
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Grant,
  type Member,
  MemberSchema,
  Role,
} from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import * as grants from "../../store/access-grants.ts";
import * as apiTokens from "../../store/api-tokens.ts";
import { MEMBERS } from "../../store/object-tables.ts";
import type { Tx } from "../../store/tx.ts";
import { newId } from "../deps.ts";
import { metadataOf } from "../metadata.ts";
import type { Kind } from "../standard.ts";

const WORDS: Readonly<Record<Role, string>> = {
  [Role.UNSPECIFIED]: "",
  [Role.OWNER]: "owner",
  [Role.VIEWER]: "viewer",
};

export const MEMBER: Kind<Member> = {
  kind: "member",
  schema: MemberSchema,
  table: MEMBERS,
  owner: "either",
  async view(tx, rows) {
    const held = await grants.listOfMembers(
      tx,
      rows.map(({ id }) => id),
    );
    return rows.map((row) =>
      create(MemberSchema, {
        metadata: metadataOf("member", row),
        spec: {
          displayName: String(row.fields["display_name"]),
          serviceAccount: row.fields["service_account"] === true,
          grants: held.filter(({ memberId }) => memberId === row.id).map(grantView),
        },
      }),
    );
  },
  async own(_work, { spec }) {
    return {
      display_name: spec?.displayName ?? "",
      service_account: spec?.serviceAccount ?? false,
    };
  },
  async isChanged({ tx }, { spec }, row) {
    const now = (await grants.listOfMembers(tx, [row.id])).map(({ role, expiresAt }) => ({
      role,
      expiresAt,
    }));
    return !isDeepStrictEqual(now, (spec?.grants ?? []).map(grantRow));
  },
  async written({ tx, deps }, row, { spec }, isSpecChange) {
    if (!isSpecChange) return;
    const wanted = (spec?.grants ?? []).map((grant) => ({
      id: newId(deps.clock),
      ...grantRow(grant),
    }));
    await grants.replace(tx, row, wanted);
    await checkOwnerLeft(tx, row.tenantId);
  },
  async ending({ tx }, row) {
    await apiTokens.revokeOfMember(tx, row.id);
    await grants.replace(tx, row, []);
    await checkOwnerLeft(tx, row.tenantId);
    return [];
  },
};

/** Nobody could ever give rights again. A tenant without owner is the vendor's to help. */
async function checkOwnerLeft(tx: Tx, tenantId: string): Promise<void> {
  if (tenantId !== NIL_UUID || (await grants.countHolders(tx, tenantId, "owner")) > 0) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "LAST_OWNER",
    "this would leave no owner of the vendor; make another member owner first",
    { next: "holdfast get members" },
  );
}

function grantRow({ role, expireTime }: Grant) {
  return {
    role: WORDS[role],
    expiresAt: expireTime === undefined ? null : timestampDate(expireTime),
  };
}

function grantView({ role, expiresAt }: grants.GrantRow) {
  return {
    role: role === "owner" ? Role.OWNER : role === "viewer" ? Role.VIEWER : Role.UNSPECIFIED,
    ...(expiresAt === null ? {} : { expireTime: timestampFromDate(expiresAt) }),
  };
}
