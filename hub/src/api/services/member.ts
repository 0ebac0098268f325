/** MemberService over its use cases. */
import {
  CreateMemberRequestSchema,
  CreateMemberResponseSchema,
  DeleteMemberRequestSchema,
  DeleteMemberResponseSchema,
  type MemberService,
  UpdateMemberRequestSchema,
  UpdateMemberResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { MEMBER } from "../../app/kinds/member.ts";
import { createToken, revokeToken, whoAmI } from "../../app/tokens.ts";
import type { UseCases } from "../dispatch.ts";
import type { MethodRule } from "../methods.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

/** `permissions` are all that the contracts declare. */
export function memberUseCases(
  deps: AppDeps,
  permissions: readonly MethodRule[],
): UseCases<typeof MemberService> {
  return {
    getMember: async (call, request) => ({
      member: await get(deps, MEMBER)(call, request, request.member),
    }),
    async listMembers(call, request) {
      const { items, nextPageToken } = await list(deps, MEMBER)(call, request);
      return { members: items, nextPageToken };
    },
    createMember: createMethod(
      deps,
      MEMBER,
      { request: CreateMemberRequestSchema, answer: CreateMemberResponseSchema },
      { message: (request) => request.member, wrap: (member) => ({ member }) },
    ),
    updateMember: updateMethod(
      deps,
      MEMBER,
      { request: UpdateMemberRequestSchema, answer: UpdateMemberResponseSchema },
      { message: (request) => request.member, wrap: (member) => ({ member }) },
    ),
    deleteMember: deleteMethod(
      deps,
      MEMBER,
      { request: DeleteMemberRequestSchema, answer: DeleteMemberResponseSchema },
      { text: (request) => request.member, wrap: (member) => ({ member }) },
    ),
    createToken: (call, request) => createToken(deps, call, request),
    revokeToken: (call, request) => revokeToken(deps, call, request),
    whoAmI: (call) => whoAmI(deps, call, permissions),
  };
}
