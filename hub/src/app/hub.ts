/** What the hub says of itself to whoever is signed in. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type GetHubResponse,
  GetHubResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";

export async function getHub(deps: AppDeps, { caller }: Call): Promise<GetHubResponse> {
  return create(GetHubResponseSchema, {
    version: deps.version,
    incarnation: deps.incarnation,
    vendorId: idOf("vendor", caller.vendorId),
    vendor: caller.vendorName,
    linkEndpoints: [deps.endpoints().link],
    time: timestampFromMs(deps.clock.now()),
  });
}
