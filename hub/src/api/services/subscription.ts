/** SubscriptionService over its use cases. */
import {
  CreateSubscriptionRequestSchema,
  CreateSubscriptionResponseSchema,
  DeleteSubscriptionRequestSchema,
  DeleteSubscriptionResponseSchema,
  type Subscription,
  type SubscriptionService,
  UpdateSubscriptionRequestSchema,
  UpdateSubscriptionResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { SUBSCRIPTION } from "../../app/kinds/subscription.ts";
import { decideAgain } from "../../app/placing.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

export function subscriptionUseCases(deps: AppDeps): UseCases<typeof SubscriptionService> {
  const createSubscription = createMethod(
    deps,
    SUBSCRIPTION,
    { request: CreateSubscriptionRequestSchema, answer: CreateSubscriptionResponseSchema },
    { message: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
  );
  const updateSubscription = updateMethod(
    deps,
    SUBSCRIPTION,
    { request: UpdateSubscriptionRequestSchema, answer: UpdateSubscriptionResponseSchema },
    { message: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
  );
  return {
    getSubscription: async (call, request) => ({
      subscription: await get(deps, SUBSCRIPTION)(call, request, request.subscription),
    }),
    async listSubscriptions(call, request) {
      const { items, nextPageToken } = await list(deps, SUBSCRIPTION)(call, request);
      return { subscriptions: items, nextPageToken };
    },
    createSubscription: (call, request) =>
      decideAgain(isPlaced(request), () => createSubscription(call, request)),
    updateSubscription: (call, request) =>
      decideAgain(isPlaced(request), () => updateSubscription(call, request)),
    deleteSubscription: deleteMethod(
      deps,
      SUBSCRIPTION,
      { request: DeleteSubscriptionRequestSchema, answer: DeleteSubscriptionResponseSchema },
      { text: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
    ),
  };
}

/** The hub finds the seat. */
function isPlaced({
  subscription,
}: Readonly<{ subscription?: Subscription | undefined }>): boolean {
  return subscription?.spec?.instance === "";
}
