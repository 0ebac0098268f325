/**
 * One connection with its control stream: says hello, hands over what the hub says in order, one at a time.
 * Ends once, with the reason; deciding what to do then is the session's matter.
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type ClientDuplexStream, Metadata } from "@grpc/grpc-js";
import {
  type ControlRequest,
  ControlRequestSchema,
  type ControlResponse,
  type Leave,
  LinkService,
  type Rehearse,
  type ShowOutput,
  type Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { HubClient } from "./hub-client.ts";
import type { ControlPort } from "./port.ts";
import type { LostKind } from "./session.ts";

/** Protocol versions that this agent speaks. */
export const PROTOCOLS = { min: 1, max: 1 } as const;
/** That run at once; more are refused. */
const REHEARSALS_MAX = 16;

export type ConnectionEvents = Readonly<{
  welcomed(spreadMs: number): void;
  askedToLeave(spreadMs: number): void;
  outputAsked(ask: ShowOutput): void;
  lost(kind: LostKind, reason: string, message: string): void;
}>;

export class Connection {
  readonly client: HubClient;
  readonly call: ClientDuplexStream<ControlRequest, ControlResponse>;
  readonly #control: ControlPort;
  readonly #log: Log;
  readonly #events: ConnectionEvents;
  #rehearsals = 0;
  #closed = false;

  constructor(client: HubClient, control: ControlPort, events: ConnectionEvents, log: Log) {
    this.client = client;
    this.#control = control;
    this.#events = events;
    this.#log = log;
    // First of all, since it may throw and a call would then be left open.
    const hello = { ...control.hello(), minProtocol: PROTOCOLS.min, maxProtocol: PROTOCOLS.max };
    const method = grpcService(LinkService).control;
    this.call = client.grpc.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      new Metadata(),
    );
    // Told once more after the reading has ended, and an error that nobody hears would end the process.
    this.call.on("error", () => undefined);
    this.#write({ case: "hello", value: hello });
    void this.#read();
  }

  close(): void {
    this.#closed = true;
    this.call.cancel();
    this.client.close();
  }

  async #read(): Promise<void> {
    try {
      for await (const response of this.call) {
        if (this.#closed) return;
        await this.#handle(response as ControlResponse);
      }
      this.#lost(new Fault("UNAVAILABLE", "LINK_ENDED", "the hub ended the stream"));
    } catch (error) {
      this.#lost(this.client.faultOf(error));
    }
  }

  async #handle({ message }: ControlResponse): Promise<void> {
    const control = this.#control;
    switch (message.case) {
      case "welcome":
        control.welcomed(message.value);
        return this.#events.welcomed(spreadMsOf(message.value));
      case "offer":
        return control.offered(message.value);
      case "freshness":
        return control.freshnessNoted(message.value);
      case "keySet":
        return control.keySetOffered(message.value);
      case "action":
        return control.act(message.value, (value) => this.#write({ case: "actionResult", value }));
      case "rehearse":
        return void this.#rehearse(message.value);
      case "showOutput":
        return this.#events.outputAsked(message.value);
      case "leave":
        return this.#events.askedToLeave(spreadMsOf(message.value));
      default:
        // From a newer hub; what it may not leave out, it negotiates by the protocol's version.
        return;
    }
  }

  /** Takes long, so it does not hold up what comes after it. */
  async #rehearse({ id, assignment }: Rehearse): Promise<void> {
    if (this.#rehearsals >= REHEARSALS_MAX) {
      const message = `${REHEARSALS_MAX} rehearsals are under way here`;
      this.#write({ case: "rehearsal", value: { id, reason: "REHEARSALS_TOO_MANY", message } });
      return;
    }
    this.#rehearsals += 1;
    try {
      this.#write({ case: "rehearsal", value: await this.#control.rehearse(id, assignment) });
    } catch (error) {
      this.#log.error({ id, error: causeChain(error) }, "a rehearsal failed");
    } finally {
      this.#rehearsals -= 1;
    }
  }

  #write(message: RequestInit): void {
    if (!this.#closed) this.call.write(create(ControlRequestSchema, { message }));
  }

  #lost(fault: Fault): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#log.debug({ error: causeChain(fault) }, "link lost");
    this.#events.lost(lostKindOf(fault), fault.reason, fault.message);
  }
}

type RequestInit = NonNullable<MessageInitShape<typeof ControlRequestSchema>["message"]>;

function spreadMsOf({ reconnectSpread }: Welcome | Leave): number {
  return reconnectSpread === undefined ? 0 : durationMs(reconnectSpread);
}

/** Codes that trying again soon will not change. */
const REFUSALS: readonly string[] = [
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "FAILED_PRECONDITION",
  "INVALID_ARGUMENT",
  "UNIMPLEMENTED",
];

function lostKindOf({ code, reason, retryAfterMs }: Fault): LostKind {
  if (reason === "CERTIFICATE_EXPIRED") return "expired";
  if (reason === "AGENT_FENCED") return "fenced";
  if (REFUSALS.includes(code)) return "refused";
  // Only a hub that is there says when to try again.
  return retryAfterMs === undefined ? "unreachable" : "later";
}
