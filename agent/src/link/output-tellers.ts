/**
 * Answers what the hub asks of the output of steps, each on a stream of its own: written no faster than it is taken, and
 * ended when nobody looks any more or the link breaks. Nothing of it can hold up the other streams.
 */
import { create } from "@bufbuild/protobuf";
import { type ClientDuplexStream, Metadata } from "@grpc/grpc-js";
import {
  LinkService,
  type OutputPart,
  type ShowOutput,
  type TellOutputRequest,
  TellOutputRequestSchema,
  type TellOutputResponse,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { HubClient } from "./hub-client.ts";
import type { OutputPort } from "./port.ts";

/** Told at once; more are refused. The hub asks for half as many, so that what ends there may still be ending here. */
export const OUTPUTS_TOLD_MAX = 16;

type Call = ClientDuplexStream<TellOutputRequest, TellOutputResponse>;
type Message = TellOutputRequest["message"];

export class OutputTellers {
  readonly #port: OutputPort | undefined;
  readonly #log: Log;
  readonly #open = new Map<Call, Promise<void>>();

  constructor(port: OutputPort | undefined, log: Log) {
    this.#port = port;
    this.#log = log;
  }

  /** Returns at once. */
  show(client: HubClient, ask: ShowOutput): void {
    if (this.#port === undefined) return;
    const { path, requestSerialize, responseDeserialize } = grpcService(LinkService).tellOutput;
    const call = client.grpc.makeBidiStreamRequest(
      ...([path, requestSerialize, responseDeserialize, new Metadata()] as const),
    );
    const isTooMany = this.#open.size >= OUTPUTS_TOLD_MAX;
    const told = this.#tell(call, ask, isTooMany ? refuseMore : this.#port.show)
      .catch((error: unknown) => {
        this.#log.debug({ id: ask.id, error: causeChain(error) }, "output was not told");
      })
      .finally(() => {
        this.#open.delete(call);
        call.cancel();
      });
    this.#open.set(call, told);
  }

  /** The link is down. */
  disconnected(): void {
    for (const call of this.#open.keys()) call.cancel();
  }

  async stop(): Promise<void> {
    this.disconnected();
    await Promise.all(this.#open.values());
  }

  async #tell(call: Call, ask: ShowOutput, show: OutputPort["show"]): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort("nobody looks any more");
    for (const event of ["end", "error", "close"]) call.once(event, end);
    // Told once more after the reading has ended, and an error that nobody hears would end the process.
    call.on("error", () => undefined);
    call.resume();
    const { id } = ask;
    let parts: AsyncIterator<OutputPart>;
    let part: IteratorResult<OutputPart>;
    try {
      parts = show(ask, over.signal)[Symbol.asyncIterator]();
      part = await parts.next();
    } catch (error) {
      const { reason, message } = asFault(error, "the output could not be read");
      await written(call, { case: "answer", value: answerOf(id, reason, message) }, over.signal);
      return await ended(call, over.signal);
    }
    await written(call, { case: "answer", value: answerOf(id, "", "") }, over.signal);
    for (; part.done !== true && !over.signal.aborted; part = await parts.next()) {
      await written(call, { case: "part", value: part.value }, over.signal);
    }
    await parts.return?.();
    await ended(call, over.signal);
  }
}

function answerOf(id: string, reason: string, message: string) {
  return { $typeName: "holdfast.link.v1.OutputAnswer", id, reason, message } as const;
}

function refuseMore(): never {
  const message = `${OUTPUTS_TOLD_MAX} views of output are open at this agent`;
  throw new Fault("RESOURCE_EXHAUSTED", "OUTPUT_VIEWS_TOO_MANY", message);
}

/** Resolves when the connection has taken it, which is what keeps the rest on the disk; at once when the call is over. */
function written(call: Call, message: Message, over: AbortSignal): Promise<void> {
  if (over.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      over.removeEventListener("abort", done);
      resolve();
    };
    over.addEventListener("abort", done, { once: true });
    call.write(create(TellOutputRequestSchema, { message }), done);
  });
}

/** All is said; the hub ends the call once it has taken it. */
function ended(call: Call, over: AbortSignal): Promise<void> {
  call.end();
  return new Promise((resolve) => {
    if (over.aborted) resolve();
    else over.addEventListener("abort", () => resolve(), { once: true });
  });
}
