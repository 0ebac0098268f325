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
import { INSTANCES, SUBSCRIPTIONS } from "../store/object-tables.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { type Catalogue, readCatalogue } from "./kinds/catalogue.ts";
import { instanceFrom } from "./kinds/instance.ts";
import { mutate, read } from "./mutation.ts";
import { lookUp, ownerIdOf } from "./reference.ts";
import { createObject, updateObject } from "./standard.ts";

export async function createInstance(
  deps: AppDeps,
  call: Call,
  request: CreateInstanceRequest,
): Promise<CreateInstanceResponse> {
  const { instance, validateOnly, requestId } = request;
  const message = required(instance);
  const catalogue = await catalogueFor(deps, call, message);
  const schemas = {
    requestSchema: CreateInstanceRequestSchema,
    answerSchema: CreateInstanceResponseSchema,
  };
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const made = await createObject({ deps, call, tx }, instanceFrom(catalogue), message);
    return create(CreateInstanceResponseSchema, { instance: made });
  });
}

export async function updateInstance(
  deps: AppDeps,
  call: Call,
  request: UpdateInstanceRequest,
): Promise<UpdateInstanceResponse> {
  const { instance, validateOnly, requestId, allowMissing } = request;
  const message = required(instance);
  const catalogue = await catalogueFor(deps, call, message);
  const schemas = {
    requestSchema: UpdateInstanceRequestSchema,
    answerSchema: UpdateInstanceResponseSchema,
  };
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const kind = instanceFrom(catalogue);
    const changed = await updateObject({ deps, call, tx }, kind, message, allowMissing);
    return create(UpdateInstanceResponseSchema, { instance: changed });
  });
}

/** Plan versions that matter are those of the subscription and of the instance as it is. */
async function catalogueFor(deps: AppDeps, call: Call, message: Instance): Promise<Catalogue> {
  const { metadata, spec } = message;
  if (spec === undefined) throw new RangeError("spec is required by the contract");
  const versions = await read(deps, call, async (tx) => {
    const tenantId = await ownerIdOf(tx, metadata?.tenant ?? "", "instance.metadata.tenant");
    const owned = { tenantId } as const;
    const present = await lookUp(tx, {
      kind: "instance",
      table: INSTANCES,
      text: metadata?.name ?? "",
      path: "instance.metadata.name",
      ...owned,
    });
    const subscription =
      spec.subscription === ""
        ? undefined
        : await lookUp(tx, {
            kind: "subscription",
            table: SUBSCRIPTIONS,
            text: spec.subscription,
            path: "instance.spec.subscription",
            ...owned,
          });
    return [present, subscription].flatMap((row) =>
      row === undefined ? [] : [Number(row.fields["plan_version"])],
    );
  });
  return readCatalogue(deps, call, spec, versions);
}

function required(instance: Instance | undefined): Instance {
  if (instance === undefined) throw new RangeError("instance is required by the contract");
  return instance;
}
