/** ActionService over its use cases. */
import type { ActionService } from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { createAction, getAction, listActions } from "../../app/actions.ts";
import type { AppDeps } from "../../app/deps.ts";
import type { UseCases } from "../dispatch.ts";

export function actionUseCases(deps: AppDeps): UseCases<typeof ActionService> {
  return {
    getAction: (call, request) => getAction(deps, call, request),
    listActions: (call, request) => listActions(deps, call, request),
    createAction: (call, request) => createAction(deps, call, request),
  };
}
