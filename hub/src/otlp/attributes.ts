/** Attributes and identities as OTLP has them: names of OpenTelemetry where there is one, else with `holdfast.` before. Pure. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { KeyValueSchema } from "@holdfast/proto/opentelemetry/proto/common/v1/common_pb.js";
import type { ResourceSchema } from "@holdfast/proto/opentelemetry/proto/resource/v1/resource_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Owner } from "./port.ts";

export type Attribute = MessageInitShape<typeof KeyValueSchema>;
export type Resource = MessageInitShape<typeof ResourceSchema>;

/** This process; named as the maker of all that it sends. */
export type Maker = Readonly<{ version: string; replica: string }>;

/** Empty values are left out: an attribute says something or is not there. */
export function attributesOf(
  values: Readonly<Record<string, string | number>>,
): readonly Attribute[] {
  return Object.entries(values)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => ({
      key,
      value: {
        value:
          typeof value === "string"
            ? { case: "stringValue" as const, value }
            : { case: "intValue" as const, value: BigInt(value) },
      },
    }));
}

export function resourceOf(owner: Owner, agentId: string): Resource {
  return {
    attributes: [
      ...attributesOf({
        "service.namespace": owner.vendor,
        "service.name": owner.product,
        "service.instance.id": idOf("instance", owner.instanceId),
        "holdfast.vendor.id": idOf("vendor", owner.vendorId),
        "holdfast.vendor.name": owner.vendor,
        "holdfast.tenant.id": owner.tenantId === "" ? "" : idOf("tenant", owner.tenantId),
        "holdfast.tenant.name": owner.tenant,
        "holdfast.cell.id": idOf("cell", owner.cellId),
        "holdfast.cell.name": owner.cell,
        "holdfast.agent.id": idOf("agent", agentId),
        "holdfast.instance.id": idOf("instance", owner.instanceId),
        "holdfast.instance.name": owner.instance,
        "holdfast.product.name": owner.product,
      }),
    ],
  };
}

export function hubResource({ version, replica }: Maker): Resource {
  return {
    attributes: [
      ...attributesOf({
        "service.name": "holdfast-hub",
        "service.version": version,
        "service.instance.id": replica,
      }),
    ],
  };
}

export function scopeOf({ version }: Maker) {
  return { name: "holdfast", version };
}

export function nanos(ms: number): bigint {
  return BigInt(Math.trunc(ms)) * 1_000_000n;
}
