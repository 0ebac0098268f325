/** SecretService over its use cases. */
import type { SecretService } from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { listSecrets, prepareSecret, setSecret } from "../../app/instance-secrets.ts";
import type { UseCases } from "../dispatch.ts";

export function secretUseCases(deps: AppDeps): UseCases<typeof SecretService> {
  return {
    prepareSecret: (call, request) => prepareSecret(deps, call, request),
    setSecret: (call, request) => setSecret(deps, call, request),
    listSecrets: (call, request) => listSecrets(deps, call, request),
  };
}
