/** SubscriptionService over its use cases. */
import {
  CreateSubscriptionRequestSchema,
  CreateSubscriptionResponseSchema,
  DeleteSubscriptionRequestSchema,
  DeleteSubscriptionResponseSchema,
  type SubscriptionService,
  UpdateSubscriptionRequestSchema,
  UpdateSubscriptionResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { SUBSCRIPTION } from "../../app/kinds/subscription.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

export function subscriptionUseCases(deps: AppDeps): UseCases<typeof SubscriptionService> {
  return {
    getSubscription: async (call, request) => ({
      subscription: await get(deps, SUBSCRIPTION)(call, request, request.subscription),
    }),
    async listSubscriptions(call, request) {
      const { items, nextPageToken } = await list(deps, SUBSCRIPTION)(call, request);
      return { subscriptions: items, nextPageToken };
    },
    createSubscription: createMethod(
      deps,
      SUBSCRIPTION,
      { request: CreateSubscriptionRequestSchema, answer: CreateSubscriptionResponseSchema },
      { message: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
    ),
    updateSubscription: updateMethod(
      deps,
      SUBSCRIPTION,
      { request: UpdateSubscriptionRequestSchema, answer: UpdateSubscriptionResponseSchema },
      { message: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
    ),
    deleteSubscription: deleteMethod(
      deps,
      SUBSCRIPTION,
      { request: DeleteSubscriptionRequestSchema, answer: DeleteSubscriptionResponseSchema },
      { text: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
    ),
  };
}
