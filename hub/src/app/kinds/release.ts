/** Releases as callers see them. Immutable: published once, then only read. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Release, ReleaseSchema } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { RELEASES } from "../../store/object-tables.ts";
import type { ObjectRow } from "../../store/objects.ts";
import * as visible from "../../store/visible.ts";
import { metadataOf } from "../metadata.ts";
import type { Kind } from "../standard.ts";

export const RELEASE: Kind<Release> = {
  kind: "release",
  schema: ReleaseSchema,
  table: RELEASES,
  owner: "vendor",
  async view(tx, rows) {
    const ids = rows.map(({ fields }) => String(fields["product_id"]));
    const products = await visible.names(tx, "product", ids);
    return rows.map((row) =>
      releaseView(row, products.get(String(row.fields["product_id"])) ?? ""),
    );
  },
  own: () => Promise.reject(new RangeError("releases are published, not written")),
};

function releaseView(row: ObjectRow, product: string): Release {
  const { fields, createdAt } = row;
  const envelope = fromBinary(EnvelopeSchema, fields["envelope"] as Uint8Array);
  return create(ReleaseSchema, {
    metadata: metadataOf("release", row),
    spec: {
      product,
      version: String(fields["version"]),
      number: fields["number"] as bigint,
      digest: String(fields["digest"]),
      keyIds: [...(fields["key_ids"] as string[])],
      blueprint: fromBinary(BlueprintSchema, envelope.payload),
      publishTime: timestampFromDate(createdAt),
    },
  });
}
