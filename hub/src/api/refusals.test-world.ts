/** Test support: what a caller of the API is told when a call is refused. */
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";

export type Refusal = Readonly<{
  code: string;
  reason: string;
  message: string;
  etag: string;
  fields: string[];
}>;

/** Throws when the call is answered. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  try {
    await call;
  } catch (error) {
    const failure = ConnectError.from(error);
    const info = failure.findDetails(ErrorInfoSchema)[0];
    const bad = failure.findDetails(BadRequestSchema)[0];
    return {
      code: Code[failure.code] ?? "",
      reason: info?.reason ?? "",
      message: failure.rawMessage,
      etag: info?.metadata["etag"] ?? "",
      fields: bad?.fieldViolations.map(({ field }) => field) ?? [],
    };
  }
  throw new Error("the call was not refused");
}
