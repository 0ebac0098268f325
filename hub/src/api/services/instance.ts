/** InstanceService over its use cases. */
import {
  DeleteInstanceRequestSchema,
  DeleteInstanceResponseSchema,
  type InstanceService,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { instancesConcerned } from "../../app/affected.ts";
import type { AppDeps } from "../../app/deps.ts";
import { createInstance, updateInstance } from "../../app/instances.ts";
import { INSTANCE } from "../../app/kinds/instance.ts";
import { rehearseInstance } from "../../app/rehearse.ts";
import { listObjects } from "../../app/standard.ts";
import { undeleteInstance } from "../../app/undelete.ts";
import { watchOutput } from "../../app/watch-output.ts";
import type { UseCases } from "../dispatch.ts";
import { deleteMethod, get } from "../standard-methods.ts";

export function instanceUseCases(deps: AppDeps): UseCases<typeof InstanceService> {
  return {
    getInstance: async (call, request) => ({
      instance: await get(deps, INSTANCE)(call, request, request.instance),
    }),
    async listInstances(call, request) {
      const concerned = instancesConcerned(request);
      const { items, nextPageToken } = await listObjects(deps, call, INSTANCE, request, concerned);
      return { instances: items, nextPageToken };
    },
    createInstance: (call, request) => createInstance(deps, call, request),
    updateInstance: (call, request) => updateInstance(deps, call, request),
    undeleteInstance: (call, request) => undeleteInstance(deps, call, request),
    rehearseInstance: (call, request) => rehearseInstance(deps, call, request),
    watchOutput: (call, request) => watchOutput(deps, call, request),
    deleteInstance: deleteMethod(
      deps,
      INSTANCE,
      { request: DeleteInstanceRequestSchema, answer: DeleteInstanceResponseSchema },
      { text: (request) => request.instance, wrap: (instance) => ({ instance }) },
    ),
  };
}
