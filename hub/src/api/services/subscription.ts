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
import type { Call } from "../../app/caller.ts";
import type { AppDeps } from "../../app/deps.ts";
import { SUBSCRIPTION } from "../../app/kinds/subscription.ts";
import { decideAgain } from "../../app/placing.ts";
import { Turns } from "../../app/turns.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

type Carries = Readonly<{ subscription?: Subscription | undefined }>;

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
  const turns = new Turns();
  /** Where the hub finds the seat, subscriptions to one plan take turns. */
  const placed = <T>(call: Call, { subscription }: Carries, work: () => Promise<T>): Promise<T> => {
    const spec = subscription?.spec;
    if (spec === undefined || spec.instance !== "") return work();
    const key = `${call.caller.vendorId}/${spec.plan}`;
    return turns.take(key, call.signal, () => decideAgain(true, work));
  };
  return {
    getSubscription: async (call, request) => ({
      subscription: await get(deps, SUBSCRIPTION)(call, request, request.subscription),
    }),
    async listSubscriptions(call, request) {
      const { items, nextPageToken } = await list(deps, SUBSCRIPTION)(call, request);
      return { subscriptions: items, nextPageToken };
    },
    createSubscription: (call, request) =>
      placed(call, request, () => createSubscription(call, request)),
    updateSubscription: (call, request) =>
      placed(call, request, () => updateSubscription(call, request)),
    deleteSubscription: deleteMethod(
      deps,
      SUBSCRIPTION,
      { request: DeleteSubscriptionRequestSchema, answer: DeleteSubscriptionResponseSchema },
      { text: (request) => request.subscription, wrap: (subscription) => ({ subscription }) },
    ),
  };
}
