/**
 * What happens to each call of the API, in this order: a caller is found by its token (before the body is
 * read), its permission is checked, then the request by its rules, then the use case runs; faults become
 * typed errors and the end is logged and counted. The same path for unary calls and for streams.
 */
import { randomUUID } from "node:crypto";
import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Validator } from "@bufbuild/protovalidate";
import {
  Code,
  ConnectError,
  createContextKey,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { authorise, type Call, type Caller, principalOf } from "../app/caller.ts";
import { asConnectError, nameProtocolError } from "./errors.ts";
import { type MethodRule, methodRule } from "./methods.ts";
import { checkRequest } from "./validation.ts";

/** A use case as the API calls it: one for each RPC, with the contract's messages. */
export type UseCases<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary<infer I, infer O>
    ? (call: Call, request: MessageShape<I>) => Promise<MessageInitShape<O>>
    : S["method"][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (call: Call, request: MessageShape<I>) => AsyncIterable<MessageInitShape<O>>
      : never;
};

export type DispatchDeps = Readonly<{
  clock: Clock;
  log: Log;
  validator: Validator;
  /** Throws UNAUTHENTICATED. Given the Authorization header's value. */
  authenticate(authorization: string | null): Promise<Caller>;
  /** Counted and timed by method and code. */
  ended(method: string, code: string, durationMs: number): void;
}>;

type Admitted = Readonly<{ call: Call; startMs: number }> & {
  /** Whether the request was read and its use case called. */
  begun: boolean;
};

const ADMITTED = createContextKey<Admitted | undefined>(undefined);

/** Only UUIDs are taken over: anything else could forge lines in a log. */
const REQUEST_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Runs before the body is read. Methods without a rule (health, reflection) are open.
 * Throws what the call is to be answered with.
 */
export function createGate(
  deps: DispatchDeps,
  services: readonly DescService[],
): (context: HandlerContext) => Promise<void> {
  const rules = new Map<DescMethod, MethodRule>();
  for (const service of services) {
    for (const method of service.methods) rules.set(method, methodRule(method));
  }
  return async (context) => {
    const rule = rules.get(context.method);
    const startMs = deps.clock.monotonic();
    const given = context.requestHeader.get("x-request-id") ?? "";
    const callId = REQUEST_ID.test(given) ? given : randomUUID();
    context.responseHeader.set("x-request-id", callId);
    if (rule === undefined) return;
    try {
      const caller = await deps.authenticate(context.requestHeader.get("authorization"));
      authorise(caller, rule.permission, rule.scope);
      const call = { caller, permission: rule.permission, callId, signal: context.signal };
      const admitted = { call, startMs, begun: false };
      context.values.set(ADMITTED, admitted);
      watchProtocol(deps, context, admitted);
    } catch (error) {
      throw ended(deps, context, { callId, startMs }, error);
    }
  };
}

/** Why a call that went well is aborted in the end: without a reason an error with its stack would be made each time. */
const OVER = "the call is over";

/** As Connect makes it: every call that fails is aborted with its error before that is sent. */
type Abortable = HandlerContext & { abort(reason?: unknown): void };

/**
 * What Connect refuses by itself, such as a body that is no message, passes no use case. Here, on its way to the
 * caller, it gets its details, and its end is logged and counted. The signal alone would not do: it tells one
 * reason only, and a deadline may have come first.
 */
function watchProtocol(deps: DispatchDeps, context: HandlerContext, admitted: Admitted): void {
  const abortable = context as Abortable;
  const abort = abortable.abort;
  abortable.abort = (error) => {
    if (error instanceof ConnectError && error.details.length === 0) {
      const { call, startMs, begun } = admitted;
      nameProtocolError(error, call.callId, !begun);
      if (!begun) ended(deps, context, { callId: call.callId, startMs, call }, error);
    }
    abort(error ?? OVER);
  };
}

/** The service as Connect wants it. Every method goes through `createGate` first. */
export function implement<S extends DescService>(
  deps: DispatchDeps,
  service: S,
  useCases: UseCases<S>,
): Partial<ServiceImpl<S>> {
  const entries = service.methods.map((method) => {
    const useCase = useCases[method.localName as keyof UseCases<S>];
    const run = method.methodKind === "unary" ? unary : streaming;
    return [method.localName, run(deps, method, useCase as never)];
  });
  return Object.fromEntries(entries) as Partial<ServiceImpl<S>>;
}

type AnyRequest = MessageShape<DescMessage>;

function unary(
  deps: DispatchDeps,
  method: DescMethod,
  useCase: (call: Call, request: AnyRequest) => Promise<MessageInitShape<DescMessage>>,
) {
  return async (request: AnyRequest, context: HandlerContext) => {
    const { call, startMs } = admittedOf(context);
    try {
      checkRequest(deps.validator, method.input, request);
      const response = await useCase(call, request);
      ended(deps, context, { callId: call.callId, startMs, call });
      return response;
    } catch (error) {
      throw ended(deps, context, { callId: call.callId, startMs, call }, error);
    }
  };
}

function streaming(
  deps: DispatchDeps,
  method: DescMethod,
  useCase: (call: Call, request: AnyRequest) => AsyncIterable<MessageInitShape<DescMessage>>,
) {
  return async function* (request: AnyRequest, context: HandlerContext) {
    const { call, startMs } = admittedOf(context);
    try {
      checkRequest(deps.validator, method.input, request);
      yield* useCase(call, request);
      ended(deps, context, { callId: call.callId, startMs, call });
    } catch (error) {
      throw ended(deps, context, { callId: call.callId, startMs, call }, error);
    }
  };
}

/** Of a call whose request was read: from here on it is ours. */
function admittedOf(context: HandlerContext): Admitted {
  const admitted = context.values.get(ADMITTED);
  if (admitted === undefined) {
    throw new Fault("INTERNAL", "GATE_MISSED", `${context.method.name} was not admitted`);
  }
  admitted.begun = true;
  return admitted;
}

type Ending = Readonly<{ callId: string; startMs: number; call?: Call }>;

/** Logs and counts the end of a call; gives the error that the caller gets. */
function ended(
  deps: DispatchDeps,
  context: HandlerContext,
  { callId, startMs, call }: Ending,
  error?: unknown,
): ConnectError | undefined {
  const method = `${context.service.typeName}/${context.method.name}`;
  const durationMs = deps.clock.monotonic() - startMs;
  const answer = error === undefined ? undefined : asConnectError(error, callId);
  const code = answer === undefined ? "OK" : upperSnake(Code[answer.code]);
  deps.ended(method, code, durationMs);
  const fields = {
    method,
    code,
    callId,
    durationMs: Math.round(durationMs * 10) / 10,
    protocol: context.protocolName,
    ...(call === undefined ? {} : { principal: principalOf(call.caller) }),
    ...(error instanceof Fault ? { reason: error.reason } : {}),
  };
  if (answer?.code === Code.Internal) {
    const stack = error instanceof Error ? error.stack : undefined;
    deps.log.error({ ...fields, cause: causeChain(error), stack }, "a call failed in the hub");
  } else {
    deps.log.info(fields, "call ended");
  }
  return answer;
}

function upperSnake(camel = "Unknown"): string {
  return camel.replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase();
}
