/** For placement.test.ts: cells with agents that are connected, refusals taken apart, and counts from the database. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  ErrorInfoSchema,
  HelpSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
} from "@holdfast/proto/google/rpc/error_details_pb.js";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { CreateSubscriptionRequestSchema } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { asConnectError } from "../api/errors.ts";
import { subscriptionUseCases } from "../api/services/subscription.ts";
import { staffContext } from "../store/context.ts";
import { withContext } from "../store/tx.ts";
import type { TestHub } from "../testing-hub.ts";
import { joinCell, vendorIdOf } from "../testing-product.ts";
import { parseApiToken } from "./api-token.ts";
import type { Call } from "./caller.ts";
import { linkHub } from "./link/link-hub.ts";

/** Each that was aborted has waited for seconds. */
const TRIES_MAX = 20;

export type Refused = Readonly<{
  code: string;
  reason: string;
  text: string;
  metadata: object;
  next: string;
}>;

export async function refusal(call: Promise<unknown>): Promise<Refused> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Fault) return refusal(Promise.reject(asConnectError(error, "")));
    if (!(error instanceof ConnectError)) throw error;
    const info = error.findDetails(ErrorInfoSchema)[0];
    const details = [
      ...error.findDetails(PreconditionFailureSchema).flatMap(({ violations }) => violations),
      ...error.findDetails(QuotaFailureSchema).flatMap(({ violations }) => violations),
    ].map(({ subject, description }) => `${subject}: ${description}`);
    const { request_id: _, ...metadata } = info?.metadata ?? {};
    return {
      code: Code[error.code],
      reason: info?.reason ?? "",
      text: [error.rawMessage, ...details].join("\n"),
      metadata,
      next: error.findDetails(HelpSchema)[0]?.links[0]?.description ?? "",
    };
  }
  return { code: "OK", reason: "", text: "", metadata: {}, next: "" };
}

/** As a caller does it: tries again what the API says may be tried again, such as a lock that was not to be had. */
export async function finalRefusal(call: () => Promise<unknown>): Promise<Refused> {
  for (let attempt = 1; ; attempt++) {
    const refused = await refusal(call());
    const isPassing = refused.code === "Aborted" || refused.reason === "TOO_MANY_AT_ONCE";
    if (!isPassing || attempt === TRIES_MAX) return refused;
  }
}

export type CellWish = Readonly<{
  region: string;
  instancesMax?: number;
  resources?: Record<string, bigint>;
  tenant?: string;
  labels?: Record<string, string>;
}>;

/** With an agent that is connected and has these drivers; null: without an agent. */
export async function makeCell(
  hub: TestHub,
  name: string,
  { region, instancesMax = 0, resources = {}, tenant = "", labels = {} }: CellWish,
  drivers: readonly string[] | null = ["process"],
): Promise<void> {
  const kind = tenant === "" ? CellKind.HOSTED : CellKind.BYOA;
  const spec = { kind, region, capacity: { instancesMax, resources } };
  await hub
    .client(CellService, hub.tokens.owner)
    .createCell({ cell: { metadata: { name, tenant, labels }, spec } });
  if (drivers === null) return;
  const { principal } = await joinCell(hub, name);
  const hello = create(HelloSchema, {
    fencing: principal.fencing,
    capabilities: drivers.map((kind) => ({ name: `driver/${kind}`, available: true })),
  });
  await linkHub(hub.parts.app).admit(principal, hello);
}

/** What runs in each cell by the instances themselves, and by the count that placement goes by. */
export async function counted(hub: TestHub, region: string) {
  const context = staffContext(vendorIdOf(hub), { principal: "test", permission: "" });
  return withContext(hub.parts.app.database, context, (tx) =>
    tx.query<{ name: string; instances: number; counted: number }>(
      `select c.name, coalesce(l.instances, 0) as counted,
              (select count(*)::int from instance i where i.cell_id = c.id and i.gone_at is null) as instances
         from cell c left join cell_load l on l.cell_id = c.id where c.region = $1 order by c.name`,
      [region],
    ),
  );
}

/** Creates subscriptions in another hub process over the same database, as far as placement can tell. */
export function otherReplica({ parts, tokens }: TestHub) {
  const useCases = subscriptionUseCases(parts.app);
  const { vendorId = "" } = parseApiToken(tokens.owner) ?? {};
  const caller = { vendorId, vendorName: "", tenantId: NIL_UUID, tenantName: "" };
  const member = { memberId: NIL_UUID, memberName: "owner", roles: ["owner"] } as const;
  const call: Call = {
    caller: { ...caller, ...member },
    permission: "subscription.create",
    callId: "test",
    signal: new AbortController().signal,
  };
  return (tenant: string, plan: string, placement: Readonly<{ region: string }>) =>
    useCases.createSubscription(
      call,
      create(CreateSubscriptionRequestSchema, {
        subscription: { metadata: { name: plan, tenant }, spec: { plan, placement } },
      }),
    );
}
