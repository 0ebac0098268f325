/** TenantService over its use cases. */
import {
  CreateTenantRequestSchema,
  CreateTenantResponseSchema,
  DeleteTenantRequestSchema,
  DeleteTenantResponseSchema,
  type TenantService,
  UpdateTenantRequestSchema,
  UpdateTenantResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { TENANT } from "../../app/kinds/simple.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, deleteMethod, get, list, updateMethod } from "../standard-methods.ts";

export function tenantUseCases(deps: AppDeps): UseCases<typeof TenantService> {
  return {
    getTenant: async (call, request) => ({
      tenant: await get(deps, TENANT)(call, {}, request.tenant),
    }),
    async listTenants(call, request) {
      const { items, nextPageToken } = await list(deps, TENANT)(call, request);
      return { tenants: items, nextPageToken };
    },
    createTenant: createMethod(
      deps,
      TENANT,
      { request: CreateTenantRequestSchema, answer: CreateTenantResponseSchema },
      { message: (request) => request.tenant, wrap: (tenant) => ({ tenant }) },
    ),
    updateTenant: updateMethod(
      deps,
      TENANT,
      { request: UpdateTenantRequestSchema, answer: UpdateTenantResponseSchema },
      { message: (request) => request.tenant, wrap: (tenant) => ({ tenant }) },
    ),
    deleteTenant: deleteMethod(
      deps,
      TENANT,
      { request: DeleteTenantRequestSchema, answer: DeleteTenantResponseSchema },
      { text: (request) => request.tenant, wrap: (tenant) => ({ tenant }) },
    ),
  };
}
