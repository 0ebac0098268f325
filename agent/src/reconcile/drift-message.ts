/** Drift in the words of the contract. Pure. */
import { create, fromJson, type MessageInitShape } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  type DifferenceSchema,
  type Drift,
  DriftSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { JsonValue } from "../drivers/driver.ts";
import type { DriftView } from "./drift.ts";

export function driftMessage({ policy, findings, leftOut, note }: DriftView): Drift {
  const differences = findings.map(
    ({
      resource,
      path,
      desired,
      applied,
      live,
      isAdopted,
    }): MessageInitShape<typeof DifferenceSchema> => ({
      ...{ resource, path, adopted: isAdopted },
      ...(desired !== undefined && { desired: valueFrom(desired) }),
      applied: valueFrom(applied),
      live: valueFrom(live),
    }),
  );
  return create(DriftSchema, { policy, differences, leftOut, note });
}

function valueFrom(value: JsonValue): Value {
  return fromJson(ValueSchema, JSON.parse(JSON.stringify(value)));
}
