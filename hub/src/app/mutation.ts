/**
 * How every change runs: one transaction in the caller's range; a repeated request id is answered with the
 * first answer; validate_only does everything and then takes it back. Changes never leave a transaction half done.
 */
import { fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { sha256 } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { isUuid } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as idempotency from "../store/idempotency.ts";
import { readWithContext, type Tx, withContext } from "../store/tx.ts";
import type { Call } from "./caller.ts";
import { type AppDeps, contextOf } from "./deps.ts";

export type Mutation<Q extends Message, A extends Message> = Readonly<{
  call: Call;
  requestSchema: GenMessage<Q>;
  request: Q;
  answerSchema: GenMessage<A>;
  validateOnly?: boolean;
  requestId?: string;
  /** The answer carries a secret: it is kept wrapped. */
  isSecret?: boolean;
}>;

/** Thrown to take back what validate_only did; never leaves this file. */
class TakenBack extends Fault {
  constructor() {
    super("CANCELLED", "VALIDATE_ONLY", "nothing was done");
  }
}

/** Runs `work` once per request id. Throws ALREADY_EXISTS `REQUEST_ID_REUSED` for another request under the same id. */
export async function mutate<Q extends Message, A extends Message>(
  deps: AppDeps,
  mutation: Mutation<Q, A>,
  work: (tx: Tx) => Promise<A>,
): Promise<A> {
  const { call, requestId = "", validateOnly = false } = mutation;
  checkRequestId(requestId);
  if (requestId === "" || validateOnly) return run(deps, call, validateOnly, work);
  return run(deps, call, false, async (tx) => {
    const key = keyOf(mutation, requestId);
    const earlier = await idempotency.recall(tx, key);
    if (earlier !== undefined) return recalled(deps, mutation, requestId, earlier);
    const answer = await work(tx);
    await idempotency.remember(tx, key, kept(deps, mutation, requestId, answer));
    return answer;
  });
}

/** One snapshot in the caller's range. */
export function read<A>(deps: AppDeps, call: Call, work: (tx: Tx) => Promise<A>): Promise<A> {
  return readWithContext(deps.database, contextOf(call), work);
}

/** Does it, gives what it came to, and takes it back. */
export function takenBack<A>(deps: AppDeps, call: Call, work: (tx: Tx) => Promise<A>): Promise<A> {
  return run(deps, call, true, work);
}

async function run<A>(
  deps: AppDeps,
  call: Call,
  validateOnly: boolean,
  work: (tx: Tx) => Promise<A>,
): Promise<A> {
  let answer: A | undefined;
  try {
    return await withContext(deps.database, contextOf(call), async (tx) => {
      answer = await work(tx);
      if (validateOnly) {
        // What the database checks at a commit.
        await tx.query("set constraints all immediate");
        throw new TakenBack();
      }
      return answer;
    });
  } catch (error) {
    if (error instanceof TakenBack && answer !== undefined) return answer;
    throw error;
  }
}

function checkRequestId(requestId: string): void {
  if (requestId === "" || isUuid(requestId)) return;
  const message = `got ${shown(requestId)}; allowed: a UUID in lower case`;
  throw new Fault("INVALID_ARGUMENT", "REQUEST_ID_MALFORMED", `request_id: ${message}`, {
    violations: [{ path: "request_id", message }],
  });
}

function recalled<Q extends Message, A extends Message>(
  deps: AppDeps,
  { answerSchema, isSecret = false }: Mutation<Q, A>,
  requestId: string,
  bytes: Uint8Array,
): A {
  return fromBinary(answerSchema, isSecret ? deps.wrapper.unwrap(requestId, bytes) : bytes);
}

function kept<Q extends Message, A extends Message>(
  deps: AppDeps,
  { answerSchema, isSecret = false }: Mutation<Q, A>,
  requestId: string,
  answer: A,
): Uint8Array {
  const bytes = toBinary(answerSchema, answer);
  return isSecret ? deps.wrapper.wrap(requestId, bytes) : bytes;
}

function keyOf<Q extends Message, A extends Message>(
  { call, requestSchema, request }: Mutation<Q, A>,
  requestId: string,
): idempotency.Request {
  const { tenantId, memberId } = call.caller;
  // The schema's name tells apart methods that share a permission.
  const method = requestSchema.typeName;
  const hash = sha256(toBinary(requestSchema, request));
  return { tenantId, caller: memberId, requestId, method, hash };
}
