/** All services that the API's port serves, each behind the gate and the dispatch. */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, MethodImpl, ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ActionService } from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { AgentService } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { EnvironmentService } from "@holdfast/proto/holdfast/api/v1/environment_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { KeptDataService } from "@holdfast/proto/holdfast/api/v1/kept_data_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { PlanService } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { ProductService } from "@holdfast/proto/holdfast/api/v1/product_pb.js";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { SeatService } from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { SecretService } from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { TelemetryService } from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { UsageService } from "@holdfast/proto/holdfast/api/v1/usage_pb.js";
import type { AppDeps } from "../app/deps.ts";
import { listEvents, watchEvents } from "../app/events.ts";
import { getHub } from "../app/hub.ts";
import { listKeySets, setKeySet } from "../app/key-sets.ts";
import { SEAT } from "../app/kinds/seat.ts";
import { queryUsage } from "../app/query-usage.ts";
import { listSeats } from "../app/seats.ts";
import { queryLogs, tailLogs } from "../app/telemetry/logs.ts";
import { queryHealth, queryMetrics } from "../app/telemetry/samples.ts";
import { createGate, type DispatchDeps, implement } from "./dispatch.ts";
import { Health, healthService } from "./health.ts";
import { permissionsOf } from "./methods.ts";
import { reflectionService, ServerReflection } from "./reflection.ts";
import type { RequestListener } from "./server.ts";
import { actionUseCases } from "./services/action.ts";
import { agentUseCases } from "./services/agent.ts";
import { cellUseCases } from "./services/cell.ts";
import { environmentUseCases } from "./services/environment.ts";
import { instanceUseCases } from "./services/instance.ts";
import { keptDataUseCases } from "./services/kept-data.ts";
import { memberUseCases } from "./services/member.ts";
import { planUseCases } from "./services/plan.ts";
import { productUseCases } from "./services/product.ts";
import { releaseUseCases } from "./services/release.ts";
import { secretUseCases } from "./services/secret.ts";
import { subscriptionUseCases } from "./services/subscription.ts";
import { tenantUseCases } from "./services/tenant.ts";
import { get } from "./standard-methods.ts";
import { strictJson, strictRequest } from "./strict-json.ts";

/** All services of the API, whose methods all declare a permission. */
export const API_SERVICES = [
  ActionService,
  KeptDataService,
  AgentService,
  CellService,
  EnvironmentService,
  EventService,
  HubService,
  InstanceService,
  MemberService,
  PlanService,
  ProductService,
  ReleaseService,
  SeatService,
  SecretService,
  SubscriptionService,
  TelemetryService,
  TenantService,
  UsageService,
] as const satisfies readonly DescService[];

export const CALL_LIMITS = {
  messageBytesMax: 4 * 1024 * 1024,
  deadlineMsMax: 3_600_000,
} as const;

/** Connect reads all JSON through this decoder; its type of the options leaves that out. */
const JSON_OPTIONS = { ignoreUnknownFields: false, textDecoder: strictJson };

export type RouteDeps = Readonly<{
  app: AppDeps;
  dispatch: DispatchDeps;
  isServing: () => boolean;
  /** Ends streams when the hub stops. */
  shutdown: AbortSignal;
  fallback: RequestListener;
}>;

/** Throws INTERNAL `PERMISSION_UNDECLARED` if a method declares no permission. */
export function apiListener(deps: RouteDeps): RequestListener {
  const gate = createGate(deps.dispatch, API_SERVICES);
  return connectNodeAdapter({
    routes: (router) => routes(router, deps),
    requestGate: gate,
    readMaxBytes: CALL_LIMITS.messageBytesMax,
    writeMaxBytes: CALL_LIMITS.messageBytesMax,
    maxTimeoutMs: CALL_LIMITS.deadlineMsMax,
    shutdownSignal: deps.shutdown,
    jsonOptions: JSON_OPTIONS,
    fallback: deps.fallback,
  });
}

/** A complete service: each method reads the numbers of its JSON by its own request. */
function serve<S extends DescService>(
  router: ConnectRouter,
  service: S,
  implementation: Partial<ServiceImpl<S>>,
): void {
  for (const method of service.methods) {
    const run = implementation[method.localName as keyof ServiceImpl<S>];
    const jsonOptions = { ...JSON_OPTIONS, textDecoder: strictRequest(method.input) };
    router.rpc<DescMethod>(method, run as MethodImpl<DescMethod>, { jsonOptions });
  }
}

function routes(router: ConnectRouter, { app, dispatch, isServing }: RouteDeps): void {
  const put = <S extends DescService>(service: S, implementation: Partial<ServiceImpl<S>>) =>
    serve(router, service, implementation);
  const permissions = permissionsOf(API_SERVICES);
  put(ActionService, implement(dispatch, ActionService, actionUseCases(app)));
  put(KeptDataService, implement(dispatch, KeptDataService, keptDataUseCases(app)));
  put(AgentService, implement(dispatch, AgentService, agentUseCases(app)));
  put(CellService, implement(dispatch, CellService, cellUseCases(app)));
  put(EnvironmentService, implement(dispatch, EnvironmentService, environmentUseCases(app)));
  put(
    EventService,
    implement(dispatch, EventService, {
      listEvents: (call, request) => listEvents(app, call, request),
      watchEvents: (call, request) => watchEvents(app, call, request),
    }),
  );
  put(
    HubService,
    implement(dispatch, HubService, {
      getHub: (call) => getHub(app, call),
      listKeySets: (call) => listKeySets(app, call),
      setKeySet: (call, request) => setKeySet(app, call, request),
    }),
  );
  put(InstanceService, implement(dispatch, InstanceService, instanceUseCases(app)));
  put(MemberService, implement(dispatch, MemberService, memberUseCases(app, permissions)));
  put(PlanService, implement(dispatch, PlanService, planUseCases(app)));
  put(ProductService, implement(dispatch, ProductService, productUseCases(app)));
  put(ReleaseService, implement(dispatch, ReleaseService, releaseUseCases(app)));
  put(
    SeatService,
    implement(dispatch, SeatService, {
      getSeat: async (call, request) => ({
        seat: await get(app, SEAT)(call, request, request.seat),
      }),
      listSeats: (call, request) => listSeats(app, call, request),
    }),
  );
  put(SecretService, implement(dispatch, SecretService, secretUseCases(app)));
  put(SubscriptionService, implement(dispatch, SubscriptionService, subscriptionUseCases(app)));
  put(
    TelemetryService,
    implement(dispatch, TelemetryService, {
      queryLogs: (call, request) => queryLogs(app, call, request),
      tailLogs: (call, request) => tailLogs(app, call, request),
      queryMetrics: (call, request) => queryMetrics(app, call, request),
      queryHealth: (call, request) => queryHealth(app, call, request),
    }),
  );
  put(TenantService, implement(dispatch, TenantService, tenantUseCases(app)));
  put(
    UsageService,
    implement(dispatch, UsageService, {
      queryUsage: (call, request) => queryUsage(app, call, request),
    }),
  );
  router.service(Health, healthService({ clock: app.clock, services: API_SERVICES, isServing }));
  router.service(ServerReflection, reflectionService([...API_SERVICES, Health, ServerReflection]));
}
