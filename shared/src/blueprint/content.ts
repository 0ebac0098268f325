/** The parts of a blueprint that are judged alike in a draft and in the signed message. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";

import type { InstanceContent } from "./instances.ts";

export type ResourceContent = Readonly<{
  id: string;
  kind: string;
  dependsOn: readonly string[];
  spec?: JsonObject | undefined;
}>;

/** A blueprint message fits; digests and the vendor are judged elsewhere. */
export type BlueprintContent = Readonly<
  Pick<
    Blueprint,
    "product" | "version" | "number" | "description" | "secrets" | "meters" | "outputs"
  > & {
    parameters?: JsonObject | undefined;
    resources: readonly ResourceContent[];
    artefacts: readonly Readonly<{ name: string }>[];
    instances: readonly InstanceContent[];
  }
>;
