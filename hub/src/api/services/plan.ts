/** PlanService over its use cases. */
import {
  CreatePlanRequestSchema,
  CreatePlanResponseSchema,
  type PlanService,
  UpdatePlanRequestSchema,
  UpdatePlanResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { PLAN } from "../../app/kinds/plan.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, get, list, updateMethod } from "../standard-methods.ts";

export function planUseCases(deps: AppDeps): UseCases<typeof PlanService> {
  return {
    getPlan: async (call, request) => ({
      plan: await get(deps, PLAN)(call, {}, request.plan),
    }),
    async listPlans(call, request) {
      const { items, nextPageToken } = await list(deps, PLAN)(call, request);
      return { plans: items, nextPageToken };
    },
    createPlan: createMethod(
      deps,
      PLAN,
      { request: CreatePlanRequestSchema, answer: CreatePlanResponseSchema },
      { message: (request) => request.plan, wrap: (plan) => ({ plan }) },
    ),
    updatePlan: updateMethod(
      deps,
      PLAN,
      { request: UpdatePlanRequestSchema, answer: UpdatePlanResponseSchema },
      { message: (request) => request.plan, wrap: (plan) => ({ plan }) },
    ),
  };
}
