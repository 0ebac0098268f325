/** Listing seats, also those of one instance, one release or one cell. */
import { create } from "@bufbuild/protobuf";
import {
  type ListSeatsRequest,
  type ListSeatsResponse,
  ListSeatsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { seatsConcerned } from "./affected.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { SEAT } from "./kinds/seat.ts";
import { listObjects } from "./standard.ts";

export async function listSeats(
  deps: AppDeps,
  call: Call,
  request: ListSeatsRequest,
): Promise<ListSeatsResponse> {
  const found = await listObjects(deps, call, SEAT, request, seatsConcerned(request));
  return create(ListSeatsResponseSchema, {
    seats: found.items,
    nextPageToken: found.nextPageToken,
  });
}
