/** grpc.health.v1 for load balancers: serving from the first request until the hub stops taking calls. */

import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "@holdfast/proto/grpc/health/v1/health_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";

/** How often a watch looks whether the answer has changed. */
const WATCH_INTERVAL_MS = 1_000;

export type HealthDeps = Readonly<{
  clock: Clock;
  services: readonly DescService[];
  isServing: () => boolean;
}>;

export function healthService(deps: HealthDeps): Partial<ServiceImpl<typeof Health>> {
  const names = new Set(["", ...deps.services.map(({ typeName }) => typeName)]);
  const statusOf = (service: string) => {
    if (!names.has(service)) return Serving.SERVICE_UNKNOWN;
    return deps.isServing() ? Serving.SERVING : Serving.NOT_SERVING;
  };
  return {
    check({ service }) {
      const status = statusOf(service);
      if (status !== Serving.SERVICE_UNKNOWN) return { status };
      throw new ConnectError("no such service", Code.NotFound);
    },
    async *watch({ service }, context) {
      let last: Serving | undefined;
      while (!context.signal.aborted) {
        const status = statusOf(service);
        if (status !== last) yield { status };
        last = status;
        await deps.clock.sleep(WATCH_INTERVAL_MS, context.signal);
      }
    },
  };
}

export { Health };
