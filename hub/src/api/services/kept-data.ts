/** KeptDataService over its use case. */
import type { KeptDataService } from "@holdfast/proto/holdfast/api/v1/kept_data_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { listKeptData } from "../../app/kept-data.ts";
import type { UseCases } from "../dispatch.ts";

export function keptDataUseCases(deps: AppDeps): UseCases<typeof KeptDataService> {
  return { listKeptData: (call, request) => listKeptData(deps, call, request) };
}
