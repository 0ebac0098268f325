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
  type Welcome,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { HubClient } from "./hub-client.ts";
import type { ControlPort } from "./port.ts";
import type { LostKind } from "./session.ts";

/** Protocol versions that this agent speaks. */
export const PROTOCOLS = { min: 1, max: 1 } as const;
/** Actions and rehearsals that run at once; more are refused. */
const ORDERS_MAX = 16;

export type ConnectionEvents = Readonly<{
  welcomed(spreadMs: number): void;
  askedToLeave(spreadMs: number): void;
  lost(kind: LostKind, message: string): void;
}>;

export class Connection {
  readonly client: HubClient;
  readonly call: ClientDuplexStream<ControlRequest, ControlResponse>;
  readonly #control: ControlPort;
  readonly #log: Log;
  readonly #events: ConnectionEvents;
  #orders = 0;
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
      case "action": {
        const { id } = message.value;
        const work = () => control.act(message.value);
        return void this.#order(id, "actionResult", work);
      }
      case "rehearse": {
        const { id, assignment } = message.value;
        return void this.#order(id, "rehearsal", () => control.rehearse(id, assignment));
      }
      case "leave":
        return this.#events.askedToLeave(spreadMsOf(message.value));
      default:
        // From a newer hub; what it may not leave out, it negotiates by the protocol's version.
        return;
    }
  }

  /** Orders take long, so they do not hold up what comes after them. */
  async #order<Case extends "actionResult" | "rehearsal">(
    id: string,
    name: Case,
    work: () => Promise<Extract<ControlRequest["message"], { case: Case }>["value"]>,
  ): Promise<void> {
    if (this.#orders >= ORDERS_MAX) {
      this.#log.warn({ id, max: ORDERS_MAX }, "refused an order: too many at once");
      const message = `${ORDERS_MAX} orders are under way`;
      const value = { id, state: ActionState.REFUSED, reason: "ORDERS_TOO_MANY", message };
      if (name === "actionResult") this.#write({ case: "actionResult", value });
      return;
    }
    this.#orders += 1;
    try {
      const value = await work();
      this.#write({ case: name, value } as RequestInit);
    } catch (error) {
      this.#log.error({ id, error: causeChain(error) }, "an order of the hub failed");
    } finally {
      this.#orders -= 1;
    }
  }

  #write(message: RequestInit): void {
    if (!this.#closed) this.call.write(create(ControlRequestSchema, { message }));
  }

  #lost(fault: Fault): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#log.debug({ error: causeChain(fault) }, "link lost");
    this.#events.lost(lostKindOf(fault), fault.message);
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
  if (REFUSALS.includes(code)) return "refused";
  // Only a hub that is there says when to try again.
  return retryAfterMs === undefined ? "unreachable" : "later";
}
