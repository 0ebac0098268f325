/** When an offer is due, as a table. */
import { create } from "@bufbuild/protobuf";
import { HeldSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { describe, expect, it } from "vitest";
import { isOfferDue, type Latest } from "./held.ts";

const latest: Latest = {
  incarnation: 1n,
  number: 3n,
  digest: "sha256:a",
  entitlementIncarnation: 1n,
  entitlementNumber: 2n,
  tombstone: false,
};
const same = {
  generation: { incarnation: 1n, number: 3n },
  assignmentDigest: "sha256:a",
  entitlementRevision: { incarnation: 1n, number: 2n },
};

describe("isOfferDue", () => {
  it.each([
    { it: "offers what the agent does not know", latest, held: undefined, due: true },
    { it: "is quiet when all is held", latest, held: same, due: false },
    {
      it: "offers a newer generation",
      latest,
      held: { ...same, generation: { incarnation: 1n, number: 2n } },
      due: true,
    },
    {
      it: "offers a newer incarnation",
      latest: { ...latest, incarnation: 2n, number: 1n },
      held: same,
      due: true,
    },
    {
      it: "never offers what is older than held",
      latest,
      held: { ...same, generation: { incarnation: 1n, number: 4n } },
      due: false,
    },
    {
      it: "offers another content under the same generation",
      latest,
      held: { ...same, assignmentDigest: "sha256:b" },
      due: true,
    },
    {
      it: "offers a newer entitlement alone",
      latest,
      held: { ...same, entitlementRevision: { incarnation: 1n, number: 1n } },
      due: true,
    },
    {
      it: "offers an entitlement that the agent lacks",
      latest,
      held: { ...same, entitlementRevision: undefined },
      due: true,
    },
    {
      it: "is content without an entitlement",
      latest: { ...latest, entitlementIncarnation: null, entitlementNumber: null },
      held: same,
      due: false,
    },
    {
      it: "repeats a tombstone until it is executed",
      latest: { ...latest, digest: "sha256:t", tombstone: true },
      held: same,
      due: true,
    },
    {
      it: "is quiet once a tombstone is executed",
      latest: { ...latest, digest: "sha256:t", tombstone: true },
      held: { ...same, removed: true },
      due: false,
    },
  ])("$it", ({ latest: wanted, held, due }) => {
    const holds = held === undefined ? undefined : create(HeldSchema, held as never);
    expect(isOfferDue(wanted, holds)).toBe(due);
  });
});
