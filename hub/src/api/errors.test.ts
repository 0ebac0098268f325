/** Refusals as they go over the wire: whole, and small enough for any protocol. */
import { toBinary } from "@bufbuild/protobuf";
import { invalid, VIOLATIONS_MAX } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { asConnectError } from "./errors.ts";

/** Of Node's block of headers, less what else is in it. */
const HEADER_BYTES_MAX = 60_000;

describe("a refusal", () => {
  it("fits into one block of headers, however long the caller's keys and values are", () => {
    const long = "鍵".repeat(100_000);
    const violations = Array.from({ length: VIOLATIONS_MAX }, () => ({
      path: long,
      message: long,
    }));
    const { details, rawMessage } = asConnectError(invalid("REQUEST_INVALID", violations), "id");
    const bytes = details.map((detail) => {
      if (!("desc" in detail)) throw new Error("a detail that is sent already");
      return toBinary(detail.desc, detail.value as never).length;
    });
    const inBase64 = (bytes.reduce((sum, each) => sum + each, 0) * 4) / 3;
    expect(inBase64 + encodeURIComponent(rawMessage).length).toBeLessThan(HEADER_BYTES_MAX);
    expect(inBase64).toBeGreaterThan(10_000);
  });
});
