/**
 * Telemetry on the reporting stream: kept beside the batches of usage, never before them. Each message is answered
 * when it is kept or refused; a refusal ends nothing but that message, so that a full disk here costs logs and not
 * the stream that carries what is billed.
 */
import { create } from "@bufbuild/protobuf";
import { TelemetryAckSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Telemetry } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { TokenBucket } from "@holdfast/shared/token-bucket.ts";
import {
  TELEMETRY_BYTES_BURST_MAX,
  TELEMETRY_BYTES_PER_SECOND_MAX,
  TELEMETRY_IN_FLIGHT_MAX,
} from "./limits.ts";
import type { AgentSession, LinkHub } from "./port.ts";
import type { LinkWatch } from "./watch.ts";

export type TelemetryIntakeDeps = Readonly<{
  hub: Pick<LinkHub, "told">;
  session: AgentSession;
  clock: Clock;
  log: Log;
  watch: Pick<LinkWatch, "telemetryEnded">;
  answer(ack: ReturnType<typeof ackOf>): Promise<void>;
}>;

/** Of one stream. */
export class TelemetryIntake {
  readonly #deps: TelemetryIntakeDeps;
  readonly #bytes: TokenBucket;
  #inFlight = 0;

  constructor(deps: TelemetryIntakeDeps) {
    this.#deps = deps;
    const bounds = {
      perSecond: TELEMETRY_BYTES_PER_SECOND_MAX,
      burst: TELEMETRY_BYTES_BURST_MAX,
    };
    this.#bytes = new TokenBucket(bounds, deps.clock);
  }

  /** Returns at once. Throws RESOURCE_EXHAUSTED `TELEMETRY_TOO_MANY` for more than was allowed to wait. */
  take(message: Telemetry): void {
    if (this.#inFlight >= TELEMETRY_IN_FLIGHT_MAX) {
      throw new Fault(
        "RESOURCE_EXHAUSTED",
        "TELEMETRY_TOO_MANY",
        `telemetry: more than ${TELEMETRY_IN_FLIGHT_MAX} messages wait for their answer`,
      );
    }
    this.#inFlight += 1;
    void this.#keep(message);
  }

  async #keep(message: Telemetry): Promise<void> {
    const refused = this.#bytes.take(sizeOf(message))
      ? await this.#refusal(message)
      : "HUB_RATE_LIMITED";
    // Before the answer: with it the agent may send the next one.
    this.#inFlight -= 1;
    this.#deps.watch.telemetryEnded(refused);
    await this.#deps.answer(ackOf(message.seq, refused));
  }

  async #refusal(message: Telemetry): Promise<string> {
    const { hub, session, log } = this.#deps;
    // Health, metrics and logs of what another agent looks after now would be told twice.
    if (!session.active) return "AGENT_FENCED";
    try {
      await hub.told(session, message);
      return "";
    } catch (error) {
      const fields = { agent: session.agentId, error: causeChain(error) };
      log.warn(fields, "telemetry was refused");
      return error instanceof Fault ? error.reason : "INTERNAL";
    }
  }
}

function ackOf(seq: bigint, refused: string) {
  return create(TelemetryAckSchema, { seq, refused });
}

/** Of what stands beside text and data. */
const ENTRY_BYTES = 64;

function sizeOf({ logs, health, metrics, missing }: Telemetry): number {
  const data = logs.reduce((sum, chunk) => sum + chunk.data.length, 0);
  const points = metrics.reduce((sum, series) => sum + series.points.length, 0);
  const said = health.flatMap(({ conditions, resources }) => [...conditions, ...resources]);
  const texts = said.reduce((sum, { message }) => sum + message.length, 0);
  const entries = logs.length + health.length + said.length + points + missing.length;
  return data + texts + entries * ENTRY_BYTES;
}
