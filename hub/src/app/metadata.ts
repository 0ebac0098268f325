/** What every object of the API carries, from its row; and its etag. */
import { create, type JsonObject, type Message, toJson } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Metadata, MetadataSchema } from "@holdfast/proto/holdfast/api/v1/metadata_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { type IdKind, idOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { ObjectRow } from "../store/objects.ts";

/** A message of an object. */
export type ObjectMessage = Message & { metadata?: Metadata | undefined };

export function metadataOf(kind: IdKind, row: ObjectRow): Metadata {
  return create(MetadataSchema, {
    id: idOf(kind, row.id),
    name: row.name,
    tenant: row.tenantName,
    labels: { ...row.labels },
    annotations: { ...row.annotations },
    generation: row.generation,
    etag: etagOf(row),
    createTime: timestampFromDate(row.createdAt),
    updateTime: timestampFromDate(row.updatedAt),
    ...(row.deletedAt === undefined ? {} : { deleteTime: timestampFromDate(row.deletedAt) }),
    finalizers: [...row.finalizers],
  });
}

export function etagOf({ revision }: ObjectRow): string {
  return revision.toString();
}

/** Throws ABORTED `ETAG_MISMATCH`, naming the present one. */
export function checkEtag(kind: IdKind, row: ObjectRow, given: string): void {
  const current = etagOf(row);
  if (given === "" || given === current) return;
  throw new Fault(
    "ABORTED",
    "ETAG_MISMATCH",
    `${kind} ${row.name}: changed in between; got etag ${shown(given)}, the present one is ${current}`,
    { metadata: { etag: current }, next: `holdfast get ${kind} ${row.name} -o yaml` },
  );
}

/** What events show of an object: labels, annotations and spec, without what the hub itself fills in. */
export function eventView<M extends ObjectMessage>(schema: GenMessage<M>, message: M): JsonObject {
  const json = toJson(schema, message as never) as JsonObject;
  const metadata = (json["metadata"] ?? {}) as JsonObject;
  const view: Record<string, JsonObject[string]> = { spec: json["spec"] ?? {} };
  for (const key of ["labels", "annotations"]) {
    if (metadata[key] !== undefined) view[key] = metadata[key];
  }
  return view as JsonObject;
}
