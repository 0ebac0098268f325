/**
 * One control stream, from Welcome to its end. Level-triggered: it knows what the agent holds (from Hello and
 * from what was written since) and, whenever it is woken, asks for what differs and writes the latest. A slow
 * agent costs one page of offers and a flag: nothing queues behind what it has not read yet.
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import {
  type ControlRequest,
  type ControlResponse,
  ControlResponseSchema,
  type Held,
  type Hello,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Encodable } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { written } from "./grpc-status.ts";
import {
  ACTIONS_PAGE_MAX,
  NOTE_JITTER_MS,
  NOTE_MS_MIN,
  OFFERS_PAGE_MAX,
  RETRY_BACKOFF,
} from "./limits.ts";
import { freshnessPauseMs, isNewer } from "./offered.ts";
import type { AgentSession, LinkHub } from "./port.ts";

export type ControlCall = ServerDuplexStream<ControlRequest, Encodable<ControlResponse>>;

type ResponseInit = NonNullable<MessageInitShape<typeof ControlResponseSchema>["message"]>;

export type ControlSessionDeps = Readonly<{ hub: LinkHub; clock: Clock; random: Random; log: Log }>;

export class ControlSession {
  readonly agent: AgentSession;
  readonly #call: ControlCall;
  readonly #deps: ControlSessionDeps;
  readonly #stop = new AbortController();
  readonly #held = new Map<string, Held>();
  #stale = false;
  #refreshing = false;
  #isNoteComing = false;
  #hasOrders = false;
  #ordering = false;
  /** Open orders that this session was given. */
  #ordered: ReadonlySet<string> = new Set();
  #end: ((fault: Fault | undefined) => void) | undefined;
  /** Rejects with the fault that ended the session from within, resolves when it was ended well. */
  readonly ended: Promise<void>;

  constructor(agent: AgentSession, call: ControlCall, deps: ControlSessionDeps) {
    this.agent = agent;
    this.#call = call;
    this.#deps = deps;
    this.ended = new Promise((resolve, reject) => {
      this.#end = (fault) => (fault === undefined ? resolve() : reject(fault));
    });
    // It may end before anybody waits for it.
    this.ended.catch(() => undefined);
  }

  /** Welcome, key sets, note and what differs, in this order. Returns once the note is written. */
  async welcome(hello: Hello, protocol: number, spreadMs: number): Promise<void> {
    const { hub, clock } = this.#deps;
    for (const held of hello.held) this.#held.set(held.instanceId, held);
    await this.#write({
      case: "welcome",
      value: {
        protocol,
        incarnation: hub.incarnation,
        hubTime: timestampFromMs(clock.now()),
        reconnectSpread: durationFromMs(spreadMs),
        session: this.agent.session,
      },
    });
    const { keySets, hasActions } = await hub.newsFor(this.agent, hello);
    for (const value of keySets) await this.keySet(value);
    const note = await hub.freshness(this.agent);
    await this.#writeBytes(note);
    this.#keepFresh(note).catch((error: unknown) => this.end(asEnd(error)));
    this.refresh(false);
    if (hasActions) this.order();
  }

  /** Something may differ now. Returns at once; at most one look is under way. */
  refresh(isChange = true): void {
    this.#deps.log.debug({}, "a wish may have changed");
    this.#stale = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    this.#offerAll(isChange)
      .catch((error: unknown) => this.end(asEnd(error)))
      .finally(() => {
        this.#refreshing = false;
        // Rung after the last look and before its end.
        if (this.#stale && !this.#stop.signal.aborted) this.refresh();
      });
  }

  keySet(value: Envelope): Promise<void> {
    return this.#write({ case: "keySet", value });
  }

  /** There may be orders now. Returns at once; at most one look is under way. */
  order(): void {
    if (!this.agent.active) return;
    this.#hasOrders = true;
    if (this.#ordering) return;
    this.#ordering = true;
    this.#orderAll()
      .catch((error: unknown) => this.end(asEnd(error)))
      .finally(() => {
        this.#ordering = false;
        if (this.#hasOrders && !this.#stop.signal.aborted) this.order();
      });
  }

  /** The answer comes as any other message; without one the caller gives up in time. */
  rehearse(id: string, assignment: Envelope): void {
    this.#write({ case: "rehearse", value: { id, assignment } }).catch((error: unknown) =>
      this.end(asEnd(error)),
    );
  }

  /** Nothing of the instance is left at the agent. */
  removed(instanceId: string): void {
    const held = this.#held.get(instanceId);
    if (held !== undefined) this.#held.set(instanceId, { ...held, removed: true });
  }

  /** Tells the agent to come back within the spread, then ends the stream well. */
  async leave(spreadMs: number, reason: string): Promise<void> {
    await this.#write({
      case: "leave",
      value: { reconnectSpread: durationFromMs(spreadMs), reason },
    });
    this.end(undefined);
  }

  /** Ends the stream; with a fault the agent is told it. The first call counts. */
  end(fault: Fault | undefined): void {
    this.#stop.abort();
    this.#end?.(fault);
  }

  async #orderAll(): Promise<void> {
    const { hub, random, log } = this.#deps;
    for (let failures = 0; this.#hasOrders && !this.#stop.signal.aborted; ) {
      this.#hasOrders = false;
      try {
        const due = await hub.actionsDue(this.agent, ACTIONS_PAGE_MAX);
        const news = due.filter(({ id }) => !this.#ordered.has(id));
        // What has ended is forgotten, so this never grows beyond a page.
        this.#ordered = new Set(due.map(({ id }) => id));
        for (const value of news) await this.#write({ case: "action", value });
        failures = 0;
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable) throw error;
        log.warn({ error: causeChain(error) }, "no orders to be had; trying again");
        this.#hasOrders = true;
        await this.#pause(fullJitter(RETRY_BACKOFF, failures++, random));
      }
    }
  }

  async #offerAll(isChange: boolean): Promise<void> {
    let isNoteDue = false;
    for (let failures = 0; this.#stale && !this.#stop.signal.aborted; ) {
      this.#stale = false;
      try {
        isNoteDue = (await this.#offerPage()) || isNoteDue;
        failures = 0;
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable) throw error;
        this.#deps.log.warn(
          { error: causeChain(error) },
          "no desired state to be had; trying again",
        );
        this.#stale = true;
        await this.#pause(fullJitter(RETRY_BACKOFF, failures++, this.#deps.random));
      }
    }
    // The note lists the latest digests, so a change makes a new one due.
    if (isNoteDue && isChange) {
      this.#noteSoon().catch((error: unknown) => this.end(asEnd(error)));
    }
  }

  /** Not at once: several changes share one note, and a change of a whole fleet is told before its notes are signed. */
  async #noteSoon(): Promise<void> {
    if (this.#isNoteComing) return;
    this.#isNoteComing = true;
    const { hub, random } = this.#deps;
    await this.#pause(
      NOTE_MS_MIN + fullJitter({ baseMs: NOTE_JITTER_MS, capMs: NOTE_JITTER_MS }, 0, random),
    );
    this.#isNoteComing = false;
    if (!this.#stop.signal.aborted) await this.#writeBytes(await hub.freshness(this.agent));
  }

  /** Whether anything was written. */
  async #offerPage(): Promise<boolean> {
    const held = [...this.#held.values()];
    const { frames, more } = await this.#deps.hub.differing(this.agent, held, OFFERS_PAGE_MAX);
    let isNews = false;
    for (const { held: after, bytes } of frames) {
      if (this.#stop.signal.aborted) return false;
      isNews ||= isNewer(after, this.#held.get(after.instanceId));
      this.#held.set(after.instanceId, after);
      await this.#writeBytes(bytes);
      // Rung while the agent was slow: what is left of this page may no longer be the latest.
      if (this.#stale) return true;
    }
    // A page that told nothing new would come again for ever.
    if (more && isNews) this.#stale = true;
    return frames.length > 0;
  }

  async #keepFresh(first: Uint8Array): Promise<void> {
    const { hub, clock, random, log } = this.#deps;
    let pauseMs = freshnessPauseMs(first, clock.now());
    for (let failures = 0; ; ) {
      await this.#pause(pauseMs);
      if (this.#stop.signal.aborted) return;
      try {
        const note = await hub.freshness(this.agent);
        await this.#writeBytes(note);
        pauseMs = freshnessPauseMs(note, clock.now());
        failures = 0;
      } catch (error) {
        log.warn({ error: causeChain(error) }, "no freshness note to be had; trying again");
        pauseMs = RETRY_BACKOFF.baseMs + fullJitter(RETRY_BACKOFF, failures++, random);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return this.#deps.clock.sleep(ms, this.#stop.signal);
  }

  #write(message: ResponseInit): Promise<void> {
    return written(this.#call, create(ControlResponseSchema, { message }), this.#stop.signal);
  }

  #writeBytes(bytes: Uint8Array): Promise<void> {
    return written(this.#call, bytes, this.#stop.signal);
  }
}

function asEnd(error: unknown): Fault {
  return error instanceof Fault
    ? error
    : new Fault("INTERNAL", "INTERNAL", "could not serve a control stream", { cause: error });
}
