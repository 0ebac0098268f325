/**
 * One control stream, from Welcome to its end: runs the effects of the control reducer. It knows what the agent holds
 * (from Hello and from what was written since), asks for what differs and writes the latest. A slow agent costs one
 * page of offers and a flag: nothing queues behind what it has not read yet.
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
  HelloSchema,
  type ShowOutput,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { type Recorder, type Track, unrecorded } from "@holdfast/shared/flight/machine.ts";
import type { Encodable } from "@holdfast/shared/grpc-service.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";
import {
  CONTROL_START,
  type ControlEffect,
  type ControlEvent,
  type ControlState,
  controlMachine,
  type LookName,
} from "./control-machine.ts";
import { written } from "./grpc-status.ts";
import { ACTIONS_PAGE_MAX, OFFERS_PAGE_MAX, RETRY_BACKOFF } from "./limits.ts";
import { freshnessPauseMs, isNewer, supersedes } from "./offered.ts";
import type { AgentSession, LinkHub, OfferPage, StoredFrame } from "./port.ts";
import type { LinkWatch } from "./watch.ts";

export type ControlCall = ServerDuplexStream<ControlRequest, Encodable<ControlResponse>>;

type ResponseInit = NonNullable<MessageInitShape<typeof ControlResponseSchema>["message"]>;

export type ControlSessionDeps = Readonly<{
  hub: LinkHub;
  clock: Clock;
  random: Random;
  log: Log;
  /** Without it nothing is written down. */
  recorder?: Recorder;
  watch: Pick<LinkWatch, "sessionOpened" | "sessionEnded" | "written">;
}>;

/** What an agent said first, and the protocol that was chosen for it. */
export type Greeting = Readonly<{ hello: Hello; protocol: number }>;

export class ControlSession {
  readonly agent: AgentSession;
  readonly #call: ControlCall;
  readonly #deps: ControlSessionDeps;
  readonly #stop = new AbortController();
  readonly #held = new Map<string, Held>();
  readonly #track: Track<ControlState, ControlEvent, ControlEffect>;
  #state = CONTROL_START;
  /** Until it is answered: a hello holds the buffers that it came in. */
  #greeting: Greeting | undefined;
  /**
   * What ringers say was committed since the last look, by instance; undefined when that may not be all, so that the
   * next look asks the store.
   */
  #fresh: Map<string, StoredFrame> | undefined;
  /** Open orders that this session was given. */
  #ordered: ReadonlySet<string> = new Set();
  /** As the agent held them when it came. */
  #keySets: readonly Readonly<{ purpose: string; version: bigint }>[] = [];
  #end: ((fault: Fault | undefined) => void) | undefined;
  /** Rejects with the fault that ended the session from within, resolves when it was ended well. */
  readonly ended: Promise<void>;

  constructor(
    agent: AgentSession,
    call: ControlCall,
    greeting: Greeting,
    deps: ControlSessionDeps,
  ) {
    this.agent = agent;
    this.#call = call;
    this.#greeting = greeting;
    this.#deps = deps;
    this.#track = (deps.recorder ?? unrecorded).track(controlMachine, idOf("agent", agent.agentId));
    this.ended = new Promise((resolve, reject) => {
      this.#end = (fault) => (fault === undefined ? resolve() : reject(fault));
    });
    // It may end before anybody waits for it.
    this.ended.catch(() => undefined);
  }

  get log(): Log {
    return this.#deps.log;
  }

  /** Once. Welcome, key sets, note and what differs, in this order. Returns once the note is written. */
  async welcome(spreadMs: number): Promise<void> {
    const { hub, clock } = this.#deps;
    const greeting = this.#greeting;
    if (greeting === undefined) return;
    this.#greeting = undefined;
    const { hello, protocol } = greeting;
    for (const held of hello.held) this.#held.set(held.instanceId, held);
    // Copied: the hello holds the buffers that it came in.
    this.#keySets = hello.keySets.map(({ purpose, version }) => ({ purpose, version }));
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
    for (const value of keySets) await this.#write({ case: "keySet", value });
    const note = await hub.freshness(this.agent);
    await this.#writeNote(note);
    this.#keepFresh(freshnessPauseMs(note, clock.now())).catch((error: unknown) =>
      this.end(asEnd(error)),
    );
    this.#dispatch({ type: "welcomed", held: hello.held.length, hasOrders: hasActions });
  }

  /** Something may differ: `fresh`, if the ringer says what. The next `refresh` looks. */
  rung(fresh: StoredFrame | undefined): void {
    const known = this.#fresh;
    if (fresh === undefined || known === undefined || known.size >= OFFERS_PAGE_MAX) {
      this.#fresh = undefined;
      return;
    }
    const { instanceId } = fresh.held;
    // Commits may be told in another order than they happened.
    if (supersedes(fresh.held, known.get(instanceId)?.held)) known.set(instanceId, fresh);
  }

  /** Something may differ now. Returns at once; at most one look is under way. */
  refresh(): void {
    this.#deps.log.debug({}, "a wish may have changed");
    this.#dispatch({ type: "changed" });
  }

  /** There may be orders now. Returns at once; at most one look is under way. */
  order(): void {
    this.#dispatch({ type: "ordered" });
  }

  /** The answer comes as any other message; without one the caller gives up in time. */
  rehearse(id: string, assignment: Envelope): void {
    this.#write({ case: "rehearse", value: { id, assignment } }).catch((error: unknown) =>
      this.end(asEnd(error)),
    );
  }

  /** The answer comes on a stream of its own; without one the caller gives up in time. */
  showOutput(value: ShowOutput): void {
    this.#write({ case: "showOutput", value }).catch((error: unknown) => this.end(asEnd(error)));
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
    if (!this.#stop.signal.aborted) {
      this.#dispatch({ type: "ended", reason: fault?.reason ?? "LEFT" });
      this.#stop.abort();
    }
    this.#end?.(fault);
  }

  #dispatch(event: ControlEvent): void {
    const { clock, random } = this.#deps;
    const [state, effects] = this.#track.step(this.#state, event, clock.now(), random);
    this.#state = state;
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: ControlEffect): void {
    switch (effect.type) {
      case "look": {
        const { look } = effect;
        const work = look === "offers" ? this.#offerPage() : this.#giveOrders();
        work.then(
          (event) => this.#dispatch(event),
          (error: unknown) => this.#failed(look, error),
        );
        return;
      }
      case "note":
        this.#note().catch((error: unknown) => this.end(asEnd(error)));
        return;
      case "timer": {
        const { timer, afterMs } = effect;
        void this.#pause(afterMs).then(() => {
          if (!this.#stop.signal.aborted) this.#dispatch({ type: "timer", timer });
        });
        return;
      }
    }
  }

  #failed(look: LookName, error: unknown): void {
    if (this.#stop.signal.aborted) return;
    if (error instanceof Fault && error.retryable) {
      if (look === "offers") this.#fresh = undefined;
      this.#deps.log.warn({ look, error: causeChain(error) }, "a look failed; trying again");
      this.#dispatch({ type: "failed", look, reason: error.reason });
    } else {
      this.end(asEnd(error));
    }
  }

  async #giveOrders(): Promise<ControlEvent> {
    const due = await this.#deps.hub.actionsDue(this.agent, ACTIONS_PAGE_MAX);
    const news = due.filter(({ id }) => !this.#ordered.has(id));
    // What has ended is forgotten, so this never grows beyond a page.
    this.#ordered = new Set(due.map(({ id }) => id));
    if (news.some(({ kind }) => kind === ActionKind.DESTROY)) await this.#giveKeySets();
    for (const value of news) await this.#write({ case: "action", value });
    return { type: "orders-given", written: news.length };
  }

  /** Destroy keys may be younger than the session, and the agent judges an order by them alone. */
  async #giveKeySets(): Promise<void> {
    const hello = create(HelloSchema, { keySets: [...this.#keySets] });
    const { keySets } = await this.#deps.hub.newsFor(this.agent, hello);
    for (const value of keySets) await this.#write({ case: "keySet", value });
  }

  async #offerPage(): Promise<ControlEvent> {
    const { frames, more } = await this.#differing();
    let isNews = false;
    let written = 0;
    for (const { held: after, bytes } of frames) {
      if (this.#stop.signal.aborted) break;
      isNews ||= isNewer(after, this.#held.get(after.instanceId));
      this.#held.set(after.instanceId, after);
      await this.#writeBytes(bytes);
      this.#deps.watch.written("offer");
      written += 1;
      // Rung while the agent was slow: what is left of this page may no longer be the latest.
      if (this.#state.offers.isDue) break;
    }
    if (more || written < frames.length) this.#fresh = undefined;
    return { type: "offered", written, isNews, more };
  }

  async #differing(): Promise<OfferPage> {
    const fresh = this.#fresh;
    this.#fresh = new Map();
    if (fresh === undefined) {
      const held = [...this.#held.values()];
      return await this.#deps.hub.differing(this.agent, held, OFFERS_PAGE_MAX);
    }
    const isDue = ({ held }: StoredFrame) => supersedes(held, this.#held.get(held.instanceId));
    return { frames: [...fresh.values()].filter(isDue), more: false };
  }

  /** How long it is good, in ms. */
  async #note(): Promise<number> {
    const note = await this.#deps.hub.freshness(this.agent);
    await this.#writeNote(note);
    return freshnessPauseMs(note, this.#deps.clock.now());
  }

  async #keepFresh(firstPauseMs: number): Promise<void> {
    const { random, log } = this.#deps;
    let pauseMs = firstPauseMs;
    for (let failures = 0; ; ) {
      await this.#pause(pauseMs);
      if (this.#stop.signal.aborted) return;
      try {
        pauseMs = await this.#note();
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

  async #writeNote(note: Uint8Array): Promise<void> {
    await this.#writeBytes(note);
    this.#deps.watch.written("note");
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
