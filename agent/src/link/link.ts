/**
 * Runs the effects of the session reducer: connections, timers, renewal. Nothing in here can stop or disturb
 * a workload: what fails is logged and reported, and tried again.
 */
import type { ShowOutput } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { asFault, causeChain, Fault } from "@holdfast/shared/fault.ts";
import { type Recorder, type Track, unrecorded } from "@holdfast/shared/flight/machine.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { Connection } from "./connection.ts";
import type { Ticket } from "./credentials.ts";
import { fetchArtefact, fetchRelease, fetchSecret } from "./fetch.ts";
import { clientIdentityOf, type HubClient, hubClient, type KeepaliveTiming } from "./hub-client.ts";
import { OutputTellers } from "./output-tellers.ts";
import type {
  ControlPort,
  FetchPort,
  IdentityPort,
  OutputPort,
  ReportPort,
  TelemetryPort,
} from "./port.ts";
import { renewCertificate, timesOf } from "./renewal.ts";
import { ReportPump } from "./report-pump.ts";
import {
  initialSession,
  type LostKind,
  type SessionEffect,
  type SessionEvent,
  type SessionState,
  sessionMachine,
  type TimerName,
} from "./session.ts";
import { StatusPump } from "./status-pump.ts";

export type LinkDeps = Readonly<{
  identity: IdentityPort;
  control: ControlPort;
  report: ReportPort;
  /** Without it nothing but usage is told. */
  telemetry?: TelemetryPort;
  /** Without it no output is shown. */
  output?: OutputPort;
  clock: Clock;
  random: Random;
  log: Log;
  /** Without it nothing is written down. */
  recorder?: Recorder;
  timing?: KeepaliveTiming;
  watch?: LinkWatch;
}>;

/** Hears what becomes of connections: to be counted, never to be decided by. */
export type LinkWatch = Readonly<{
  connecting(): void;
  connected(): void;
  linkLost(why: LostKind | "asked_to_leave"): void;
}>;

export interface Link {
  readonly fetch: FetchPort;
  readonly state: SessionState;
  /** From now on only usage is delivered. */
  drain(): void;
  /** Ends the connection; no effect of the link is under way when it resolves. */
  stop(): Promise<void>;
}

/** Returns at once and connects in the background. `isFenced`: to deliver usage and for nothing else. */
export function startLink(deps: LinkDeps, isFenced = false): Link {
  const link = new RunningLink(deps);
  link.dispatch({ type: isFenced ? "fenced" : "start" });
  return link;
}

class RunningLink implements Link {
  readonly fetch: FetchPort;
  readonly #deps: LinkDeps;
  readonly #statuses: StatusPump;
  readonly #reports: ReportPump;
  readonly #outputs: OutputTellers;
  readonly #timers = new Map<TimerName, AbortController>();
  readonly #tickets = new Map<string, Ticket>();
  readonly #stop = new AbortController();
  readonly #track: Track<SessionState, SessionEvent, SessionEffect>;
  #state: SessionState;
  #connection: Connection | undefined;
  #draining: HubClient | undefined;
  #isUp = false;
  #renewal: Promise<void> = Promise.resolve();

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    const { agentId, linkEndpoints, certificate } = deps.identity.identity();
    this.#track = (deps.recorder ?? unrecorded).track(sessionMachine, agentId);
    this.#state = initialSession(linkEndpoints.length, timesOf(certificate));
    this.#statuses = new StatusPump(deps.control, deps.log);
    this.#reports = new ReportPump(deps);
    this.#outputs = new OutputTellers(deps.output, deps.log);
    this.fetch = {
      fetchRelease: (digest, signal) => fetchRelease(this.#connected(), digest, signal),
      fetchArtefact: (digest, offset, signal) =>
        fetchArtefact(this.#connected(), digest, offset, signal),
      fetchSecret: async (instanceId, name, version, signal) =>
        await fetchSecret(this.#connected(), { instanceId, name, version }, signal),
    };
  }

  get state(): SessionState {
    return this.#state;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.dispatch({ type: "stop" });
    const streams = [this.#statuses.stop(), this.#reports.stop(), this.#outputs.stop()];
    await Promise.all([...streams, this.#renewal]);
  }

  drain(): void {
    this.dispatch({ type: "fenced" });
  }

  dispatch(event: SessionEvent): void {
    const { clock, random } = this.#deps;
    const [state, effects] = this.#track.step(this.#state, event, clock.now(), random);
    this.#state = state;
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: SessionEffect): void {
    switch (effect.type) {
      case "connect":
        this.#connect(effect.connection, effect.endpoint);
        return;
      case "disconnect":
        this.#disconnect();
        return;
      case "drain":
        this.#drain(effect.endpoint);
        return;
      case "timer":
        this.#arm(effect.timer, effect.afterMs);
        return;
      case "cancel":
        this.#timers.get(effect.timer)?.abort();
        return;
      case "renew":
        this.#renewal = this.#renew(effect.endpoint);
        return;
      case "report":
        this.#report(effect.up, effect.message);
        return;
    }
  }

  #connect(connection: number, at: number): void {
    const { identity, control, log } = this.#deps;
    let client: HubClient | undefined;
    this.#deps.watch?.connecting();
    try {
      const endpoint = endpointAt(identity.identity().linkEndpoints, at);
      client = this.#clientTo(endpoint);
      const events = {
        welcomed: (spreadMs: number) => this.#welcomed(connection, spreadMs),
        outputAsked: (ask: ShowOutput) => this.#outputAsked(ask),
        askedToLeave: (spreadMs: number) => {
          this.#deps.watch?.linkLost("asked_to_leave");
          this.dispatch({ type: "asked-to-leave", connection, spreadMs });
        },
        lost: (kind: LostKind, reason: string, message: string) => {
          this.#deps.watch?.linkLost(kind);
          if (reason === "IDENTITY_FROZEN") this.#frozen();
          this.dispatch({
            ...{ type: "lost", connection, kind, reason },
            message: `${endpoint}: ${message}`,
          });
        },
      };
      this.#connection = new Connection(client, control, events, log);
    } catch (error) {
      client?.close();
      const { message } = asFault(error, "could not open a connection");
      log.error({ error: causeChain(error) }, message);
      // Not at once: the reducer is not done with the effects of this event yet.
      queueMicrotask(() =>
        this.dispatch({ type: "lost", connection, kind: "unreachable", message }),
      );
    }
  }

  #frozen(): void {
    const { control, log } = this.#deps;
    try {
      control.frozen();
    } catch (error) {
      log.error({ error: causeChain(error) }, "that the identity is frozen was not taken");
    }
  }

  /** The reporting stream comes and goes by itself on this client until the link is stopped. */
  #drain(at: number): void {
    const { identity, control, log } = this.#deps;
    try {
      this.#draining = this.#clientTo(endpointAt(identity.identity().linkEndpoints, at));
      this.#reports.connected(this.#draining);
    } catch (error) {
      log.error({ error: causeChain(error) }, "what is left of the usage cannot be delivered");
    }
    // Not at once: whoever hears it may stop the link, and the reducer is not done with this event yet.
    queueMicrotask(() => control.takenOver());
  }

  #clientTo(endpoint: string): HubClient {
    return hubClient(endpoint, clientIdentityOf(this.#deps.identity.identity()), {
      ticket: this.#ticketOf(endpoint),
      ...(this.#deps.timing && { timing: this.#deps.timing }),
    });
  }

  #welcomed(connection: number, spreadMs: number): void {
    const open = this.#connection;
    this.dispatch({ type: "welcomed", connection, spreadMs });
    if (open === undefined || this.#connection !== open) return;
    this.#isUp = true;
    this.#deps.watch?.connected();
    this.#statuses.connected(open.call);
    this.#reports.connected(open.client);
  }

  #outputAsked(ask: ShowOutput): void {
    if (this.#connection !== undefined) this.#outputs.show(this.#connection.client, ask);
  }

  #disconnect(): void {
    this.#isUp = false;
    this.#statuses.disconnected();
    this.#reports.disconnected();
    this.#outputs.disconnected();
    this.#connection?.close();
    this.#connection = undefined;
    this.#draining?.close();
    this.#draining = undefined;
  }

  #arm(name: TimerName, afterMs: number): void {
    this.#timers.get(name)?.abort();
    const stop = new AbortController();
    this.#timers.set(name, stop);
    void this.#deps.clock.sleep(afterMs, stop.signal).then(() => {
      if (!stop.signal.aborted) this.dispatch({ type: "timer", timer: name });
    });
  }

  async #renew(at: number): Promise<void> {
    const { identity, log } = this.#deps;
    try {
      const present = identity.identity();
      const endpoint = endpointAt(present.identityEndpoints, at);
      const { tlsKey, certificate } = await renewCertificate(present, endpoint, this.#stop.signal);
      identity.renewed(tlsKey, certificate);
      // Tickets vouch for the old certificate.
      this.#tickets.clear();
      log.info({}, "certificate renewed");
      this.dispatch({ type: "renewed", certificate: timesOf(certificate) });
    } catch (error) {
      const { message } = asFault(error, "could not renew the certificate");
      log.warn({ error: causeChain(error) }, "renewal failed");
      this.dispatch({ type: "renewal-failed", message: `renewal failed: ${message}` });
    }
  }

  #report(up: boolean, message: string): void {
    const { control, log } = this.#deps;
    log.info({ up, reason: message }, up ? "link up" : "link down");
    try {
      control.linkChanged(up, message);
    } catch (error) {
      log.error({ error: causeChain(error) }, "the state of the link was not taken");
    }
  }

  #ticketOf(endpoint: string): Ticket {
    const ticket = this.#tickets.get(endpoint) ?? {};
    this.#tickets.set(endpoint, ticket);
    return ticket;
  }

  #connected(): HubClient {
    if (this.#connection !== undefined && this.#isUp) return this.#connection.client;
    throw new Fault("UNAVAILABLE", "LINK_DOWN", "there is no link to the hub at present");
  }
}

function endpointAt(endpoints: readonly string[], at: number): string {
  const endpoint = endpoints[at % Math.max(1, endpoints.length)];
  if (endpoint !== undefined) return endpoint;
  throw new Fault("FAILED_PRECONDITION", "ENDPOINT_MISSING", "no endpoint of the hub is known");
}
