/** EnvironmentService over its use cases. */
import {
  CreateEnvironmentRequestSchema,
  CreateEnvironmentResponseSchema,
  type EnvironmentService,
  UpdateEnvironmentRequestSchema,
  UpdateEnvironmentResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/environment_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { ENVIRONMENT } from "../../app/kinds/simple.ts";
import type { UseCases } from "../dispatch.ts";
import { createMethod, get, list, updateMethod } from "../standard-methods.ts";

export function environmentUseCases(deps: AppDeps): UseCases<typeof EnvironmentService> {
  return {
    getEnvironment: async (call, request) => ({
      environment: await get(deps, ENVIRONMENT)(call, {}, request.environment),
    }),
    async listEnvironments(call, request) {
      const { items, nextPageToken } = await list(deps, ENVIRONMENT)(call, request);
      return { environments: items, nextPageToken };
    },
    createEnvironment: createMethod(
      deps,
      ENVIRONMENT,
      { request: CreateEnvironmentRequestSchema, answer: CreateEnvironmentResponseSchema },
      { message: (request) => request.environment, wrap: (environment) => ({ environment }) },
    ),
    updateEnvironment: updateMethod(
      deps,
      ENVIRONMENT,
      { request: UpdateEnvironmentRequestSchema, answer: UpdateEnvironmentResponseSchema },
      { message: (request) => request.environment, wrap: (environment) => ({ environment }) },
    ),
  };
}
