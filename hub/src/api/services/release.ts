/** ReleaseService over its use cases. */
import type { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import type { AppDeps } from "../../app/deps.ts";
import { RELEASE } from "../../app/kinds/release.ts";
import {
  listReleases,
  publishRelease,
  setFloor,
  statArtefact,
  uploadArtefact,
} from "../../app/releases.ts";
import type { UseCases } from "../dispatch.ts";
import { get } from "../standard-methods.ts";

export function releaseUseCases(deps: AppDeps): UseCases<typeof ReleaseService> {
  return {
    getRelease: async (call, request) => ({
      release: await get(deps, RELEASE)(call, {}, request.release),
    }),
    listReleases: (call, request) => listReleases(deps, call, request),
    publishRelease: (call, request) => publishRelease(deps, call, request),
    statArtefact: (call, request) => statArtefact(deps, call, request),
    uploadArtefact: (call, request) => uploadArtefact(deps, call, request),
    setFloor: (call, request) => setFloor(deps, call, request),
  };
}
