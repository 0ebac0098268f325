/** Joins a draft with its vendor and its measured artefacts into the message that is signed. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  ArtefactSchema,
  type Blueprint,
  BlueprintSchema,
} from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { Fault } from "../fault.ts";
import { shown } from "../text.ts";
import { BLUEPRINT_BYTES_MAX } from "./bounds.ts";
import { refuseUnsound } from "./check.ts";
import type { BlueprintDraft } from "./draft.ts";

export type MeasuredArtefact = Readonly<{
  name: string;
  /** `sha256:` and 64 hex digits, of the bytes as transported. */
  digest: string;
  size: number | bigint;
  mediaType: string;
}>;

/**
 * Throws INVALID_ARGUMENT `ARTEFACT_MISSING` if an artefact of the draft was not measured, `BLUEPRINT_INVALID`
 * if the result is not sound, and RESOURCE_EXHAUSTED `BLUEPRINT_TOO_LARGE`.
 */
export function compileBlueprint(
  draft: BlueprintDraft,
  { vendorId, artefacts }: Readonly<{ vendorId: string; artefacts: readonly MeasuredArtefact[] }>,
): Blueprint {
  const measured = draft.artefacts.map(({ name }) => {
    const found = artefacts.find((each) => each.name === name);
    if (found !== undefined) return create(ArtefactSchema, { ...found, size: BigInt(found.size) });
    throw new Fault(
      "INVALID_ARGUMENT",
      "ARTEFACT_MISSING",
      `artefacts: ${shown(name)} is declared but was not built`,
    );
  });
  const blueprint = create(BlueprintSchema, { ...draft.blueprint, vendorId, artefacts: measured });
  refuseUnsound(blueprint, { parameterSchema: "skip" }); // Judged with the draft.
  const bytes = toBinary(BlueprintSchema, blueprint).length;
  if (bytes > BLUEPRINT_BYTES_MAX) {
    const message = `the blueprint has ${bytes} bytes; limit ${BLUEPRINT_BYTES_MAX}`;
    throw new Fault("RESOURCE_EXHAUSTED", "BLUEPRINT_TOO_LARGE", message);
  }
  return blueprint;
}
