/** Writing instances: reads what the vendor publishes first, then changes the caller's own rows. */
import { create } from "@bufbuild/protobuf";
import {
  type CreateInstanceRequest,
  CreateInstanceRequestSchema,
  type CreateInstanceResponse,
  CreateInstanceResponseSchema,
  type Instance,
  type UpdateInstanceRequest,
  UpdateInstanceRequestSchema,
  type UpdateInstanceResponse,
  UpdateInstanceResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { type Catalogue, readCatalogue } from "./kinds/catalogue.ts";
import { instanceFrom } from "./kinds/instance.ts";
import { mutate } from "./mutation.ts";
import { pickCell } from "./pick-cell.ts";
import { decideAgain } from "./placing.ts";
import { createObject, updateObject } from "./standard.ts";

export async function createInstance(
  deps: AppDeps,
  call: Call,
  request: CreateInstanceRequest,
): Promise<CreateInstanceResponse> {
  const { instance, validateOnly, requestId } = request;
  const message = required(instance);
  const schemas = {
    requestSchema: CreateInstanceRequestSchema,
    answerSchema: CreateInstanceResponseSchema,
  };
  return decideAgain(isPlaced(message), async () => {
    const catalogue = await catalogueFor(deps, call, message);
    return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
      const made = await createObject({ deps, call, tx }, instanceFrom(catalogue), message);
      return create(CreateInstanceResponseSchema, { instance: made });
    });
  });
}

export async function updateInstance(
  deps: AppDeps,
  call: Call,
  request: UpdateInstanceRequest,
): Promise<UpdateInstanceResponse> {
  const { instance, validateOnly, requestId, allowMissing } = request;
  const message = required(instance);
  const schemas = {
    requestSchema: UpdateInstanceRequestSchema,
    answerSchema: UpdateInstanceResponseSchema,
  };
  return decideAgain(isPlaced(message), async () => {
    const catalogue = await catalogueFor(deps, call, message);
    return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
      const kind = instanceFrom(catalogue);
      const changed = await updateObject({ deps, call, tx }, kind, message, allowMissing);
      return create(UpdateInstanceResponseSchema, { instance: changed });
    });
  });
}

function isPlaced({ spec }: Instance): boolean {
  return spec?.cell === "";
}

export function catalogueFor(deps: AppDeps, call: Call, message: Instance): Promise<Catalogue> {
  if (message.spec === undefined) throw new RangeError("spec is required by the contract");
  return isPlaced(message)
    ? pickCell(deps, call, message, message.spec)
    : readCatalogue(deps, call, message.spec);
}

export function required(instance: Instance | undefined): Instance {
  if (instance === undefined) throw new RangeError("instance is required by the contract");
  return instance;
}
