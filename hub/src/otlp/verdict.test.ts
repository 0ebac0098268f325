/** What each answer of a collector means. */
import { create, toBinary } from "@bufbuild/protobuf";
import { StatusSchema } from "@holdfast/proto/google/rpc/status_pb.js";
import { ExportLogsServiceResponseSchema } from "@holdfast/proto/opentelemetry/proto/collector/logs/v1/logs_service_pb.js";
import { describe, expect, it } from "vitest";
import { type Answer, judge, RETRY_AFTER_MS_MAX } from "./verdict.ts";

const NOW = Date.parse("2026-11-20T08:00:00Z");
const answer = (about: Partial<Extract<Answer, { status: number }>>): Answer => ({
  ...{ status: 200, contentType: "application/x-protobuf", retryAfter: "" },
  ...{ body: new Uint8Array(), ...about },
});
const kindOf = (about: Parameters<typeof answer>[0]) => judge("logs", answer(about), NOW).t;

describe("an answer of the collector", () => {
  it.each([
    { status: 200, t: "done" },
    { status: 202, t: "done" },
    { status: 302, t: "refused" },
    { status: 400, t: "refused" },
    { status: 401, t: "refused" },
    { status: 413, t: "refused" },
    { status: 429, t: "again" },
    { status: 500, t: "refused" },
    { status: 502, t: "again" },
    { status: 503, t: "again" },
    { status: 504, t: "again" },
  ])("$status is $t", ({ status, t }) => {
    expect(kindOf({ status })).toBe(t);
  });

  it.each([
    { retryAfter: "7", afterMs: 7_000 },
    { retryAfter: "Fri, 20 Nov 2026 08:00:09 GMT", afterMs: 9_000 },
    { retryAfter: "Fri, 20 Nov 2026 07:00:00 GMT", afterMs: 0 },
    { retryAfter: "99999999", afterMs: RETRY_AFTER_MS_MAX },
    { retryAfter: "soon", afterMs: 0 },
    { retryAfter: "", afterMs: 0 },
  ])("that asks to wait ($retryAfter) is heard, within bounds", ({ retryAfter, afterMs }) => {
    expect(judge("logs", answer({ status: 503, retryAfter }), NOW)).toMatchObject({ afterMs });
  });

  it("that no answer came is no refusal", () => {
    expect(judge("metrics", { failed: "ECONNREFUSED" }, NOW)).toEqual({
      ...{ t: "again", afterMs: 0, message: "ECONNREFUSED" },
    });
  });

  it("that takes only a part says how much not, and why", () => {
    const partialSuccess = { rejectedLogRecords: 3n, errorMessage: "too\u001b[31m old" };
    const schema = ExportLogsServiceResponseSchema;
    const body = toBinary(schema, create(schema, { partialSuccess }));
    const verdict = judge("logs", answer({ body }), NOW);
    expect(verdict).toMatchObject({ t: "done", rejected: 3 });
    expect(verdict).toMatchObject({ message: expect.not.stringContaining("\u001b") });
  });

  it("that is no message counts by its status", () => {
    const body = Buffer.from("<html>busy</html>");
    expect(judge("logs", answer({ body }), NOW)).toMatchObject({ t: "done", rejected: 0 });
    expect(judge("logs", answer({ body, status: 400 }), NOW)).toMatchObject({ t: "refused" });
  });

  it("that refuses is repeated in its own words", () => {
    const body = toBinary(
      StatusSchema,
      create(StatusSchema, { code: 3, message: "no such tenant" }),
    );
    expect(judge("logs", answer({ body, status: 400 }), NOW)).toMatchObject({
      message: expect.stringContaining("HTTP 400: no such tenant"),
    });
  });
});
