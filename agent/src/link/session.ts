/**
 * The life of the link as a pure reducer; an adapter runs the effects. There is at most one connection, and
 * until it is stopped there is always a next try.
 *
 * idle -> connecting (start) or expired (start with an expired certificate)
 * connecting -> up (welcomed), waiting (lost, or no welcome in time), expired
 * up -> waiting (lost, or asked to leave), connecting (renewed: the new certificate is used at once)
 * waiting -> connecting (timer), expired (the certificate ended meanwhile)
 * expired -> connecting (renewed)
 * idle, connecting, up -> draining (fenced: another agent has this one's cell); only reports go out from then on
 * draining -> draining (renewed: over a new connection)
 * any -> stopped
 *
 * By a clock that cannot be right nothing is judged: no connection and no renewal is begun, and it waits for the clock.
 *
 * Renewal goes on beside this, in all phases but idle and stopped.
 */
import type { Random } from "@holdfast/shared/clock.ts";
import type { Machine } from "@holdfast/shared/flight/machine.ts";
import { clockProblem } from "@holdfast/shared/plausible-clock.ts";

/** First ceiling of the wait after a failure, and the highest. */
export const RETRY_MS = { base: 1_000, cap: 300_000 } as const;
/**
 * Rounds that fail before the waits grow: a hub that restarts is back in seconds, and the announced spread is the rate
 * that it can bear.
 */
export const STEADY_FAILURES = 8;
/** Highest ceiling where the hub answered that it cannot serve now: it is there, and back any moment. */
export const RETRY_ANSWERED_MS_CAP = 10_000;
/** Failures that such an answer leaves on the count, so that it alone never makes a later wait a long one. */
const ANSWERED_FAILURES_MAX = STEADY_FAILURES + 4;
/** Bound on what a hub may announce. */
export const SPREAD_MS_MAX = 3_600_000;
/** From the connection's start to Welcome. */
export const WELCOME_MS_MAX = 20_000;
/** A link that was up for less than this was not a good one; from the second in a row on the waits grow. */
export const STABLE_MS_MIN = 10_000;
/** Renewal is looked at this often at least: a suspended machine's timers stand still, its certificate does not. */
export const RENEW_CHECK_MS_MAX = 3_600_000;
/** Renewals are spread over this share of the time between half-life and end. */
const RENEW_JITTER_SHARE = 0.2;

/** A clock that cannot be right is looked at again this often; until then nothing is asked of the hub. */
export const CLOCK_CHECK_MS = 60_000;
/** A certificate that ended longer ago the hub renews no more. */
const RENEW_LATE_MS_MAX = 35 * 86_400_000;

/** `notBefore` is a time that the hub has signed. */
export type CertificateTimes = Readonly<{ notBefore: number; renewAt: number; notAfter: number }>;

export type SessionState = Readonly<{
  phase: "idle" | "connecting" | "up" | "waiting" | "expired" | "draining" | "stopped";
  /** Number of the newest connection; events of older ones are ignored. */
  connection: number;
  endpoints: number;
  endpoint: number;
  /** Rounds through all endpoints that failed in a row. */
  failures: number;
  /** Links in a row that did not last, so that a hub which fails late is not hammered. */
  shortLived: number;
  spreadMs: number;
  upSince: number;
  certificate: CertificateTimes;
  renewing: boolean;
  renewFailures: number;
}>;

/**
 * Why a connection ended. `later`: the hub is there, but cannot serve now. `refused`: the hub does not want this agent, or this protocol; trying often is no
 * use. `expired`: the hub holds the certificate for expired. `fenced`: another agent has
 * taken over.
 */
export type LostKind = "unreachable" | "later" | "refused" | "expired" | "fenced";

export type SessionEvent =
  | Readonly<{ type: "start" | "stop" | "fenced" }>
  | Readonly<{ type: "timer"; timer: TimerName }>
  | Readonly<{ type: "welcomed" | "asked-to-leave"; connection: number; spreadMs: number }>
  /** `reason` is the fault's, for whoever reads what happened. */
  | Readonly<{ type: "lost"; connection: number; kind: LostKind; reason?: string; message: string }>
  | Readonly<{ type: "renewed"; certificate: CertificateTimes }>
  | Readonly<{ type: "renewal-failed"; message: string }>;

export type TimerName = "connect" | "welcome" | "renew";

export type SessionEffect =
  /** Always after the previous connection's `disconnect`. */
  | Readonly<{ type: "connect"; connection: number; endpoint: number }>
  | Readonly<{ type: "disconnect"; connection: number }>
  /** A connection for reports alone. Always after the previous connection's `disconnect`. */
  | Readonly<{ type: "drain"; connection: number; endpoint: number }>
  /** Takes the place of a running timer of this name. */
  | Readonly<{ type: "timer"; timer: TimerName; afterMs: number }>
  | Readonly<{ type: "cancel"; timer: TimerName }>
  /** Through the identity endpoint with this number, modulo their count. */
  | Readonly<{ type: "renew"; endpoint: number }>
  | Readonly<{ type: "report"; up: boolean; message: string }>;

export type Step = readonly [SessionState, readonly SessionEffect[]];

export function initialSession(endpoints: number, certificate: CertificateTimes): SessionState {
  return {
    phase: "idle",
    connection: 0,
    endpoints,
    endpoint: 0,
    failures: 0,
    shortLived: 0,
    spreadMs: RETRY_MS.base,
    upSince: 0,
    certificate,
    renewing: false,
    renewFailures: 0,
  };
}

export const sessionMachine: Machine<SessionState, SessionEvent, SessionEffect> = {
  name: "link",
  step,
  words: new Set(
    Object.keys({
      ...{ idle: 0, connecting: 0, up: 0, waiting: 0, expired: 0, stopped: 0 },
      ...{ connect: 0, welcome: 0, renew: 0, unreachable: 0, later: 0, refused: 0 },
      ...{ start: 0, stop: 0, timer: 0, welcomed: 0, "asked-to-leave": 0, lost: 0 },
      ...{ renewed: 0, "renewal-failed": 0, disconnect: 0, cancel: 0, report: 0 },
      ...{ fenced: 0, drain: 0, draining: 0 },
    } satisfies Record<Word, 0>),
  ),
};

type Word =
  | SessionState["phase"]
  | TimerName
  | LostKind
  | SessionEvent["type"]
  | SessionEffect["type"];

/** `now` is wall-clock milliseconds, because certificates are; waits are durations. */
export function step(state: SessionState, event: SessionEvent, now: number, random: Random): Step {
  if (state.phase === "stopped") return [state, []];
  switch (event.type) {
    case "start":
      return state.phase === "idle" ? start(state, now, random) : [state, []];
    case "stop":
      return stop(state);
    case "fenced":
      return drain(state, now, random);
    case "timer":
      return timer(state, event.timer, now, random);
    case "welcomed":
      return isCurrent(state, event) && state.phase === "connecting"
        ? welcomed(state, event.spreadMs, now)
        : [state, []];
    case "asked-to-leave":
      return isCurrent(state, event) && isConnected(state)
        ? leave(state, event.spreadMs, random)
        : [state, []];
    case "lost":
      return isCurrent(state, event) && isConnected(state)
        ? lost(state, event, now, random)
        : [state, []];
    case "renewed":
      return renewed(state, event.certificate, now, random);
    case "renewal-failed":
      return renewalFailed(state, event.message, random);
  }
}

function start(state: SessionState, now: number, random: Random): Step {
  const certificate = withJitter(state.certificate, random);
  return joined([{ ...state, certificate }, [renewTimer(certificate, now)]], (next) =>
    connect(next, now),
  );
}

function stop(state: SessionState): Step {
  const isOpen = isConnected(state) || state.phase === "draining";
  const disconnects = isOpen ? [disconnectOf(state)] : [];
  return [
    { ...state, phase: "stopped" },
    [...disconnects, cancel("connect"), cancel("welcome"), cancel("renew")],
  ];
}

/** Nobody is told of a link any more: what is left is to deliver, for as long as the hub renews the certificate. */
function drain(state: SessionState, now: number, random: Random): Step {
  if (state.phase === "draining") return [state, []];
  const message = "another agent has taken over this cell; only usage is still delivered";
  const certificate =
    state.phase === "idle" ? withJitter(state.certificate, random) : state.certificate;
  const next: SessionState = { ...state, certificate, phase: "draining" };
  const effects: readonly SessionEffect[] = [
    ...(isConnected(state) ? [disconnectOf(state)] : []),
    cancel("connect"),
    cancel("welcome"),
    ...(next.renewing ? [] : [renewTimer(certificate, now)]),
    { type: "report", up: false, message },
  ];
  return joined([next, effects], deliver);
}

function deliver(state: SessionState): Step {
  const connection = state.connection + 1;
  return [{ ...state, connection }, [{ type: "drain", connection, endpoint: state.endpoint }]];
}

function timer(state: SessionState, name: TimerName, now: number, random: Random): Step {
  switch (name) {
    case "connect":
      return state.phase === "waiting" ? connect(state, now) : [state, []];
    case "welcome": {
      if (state.phase !== "connecting") return [state, []];
      const message = `no welcome within ${WELCOME_MS_MAX} ms`;
      return lost(state, { kind: "unreachable", message }, now, random);
    }
    case "renew":
      if (state.phase === "idle" || state.renewing) return [state, []];
      if (clockFault(state, now) !== undefined) return [state, [clockTimer("renew")]];
      return now < state.certificate.renewAt
        ? [state, [renewTimer(state.certificate, now)]]
        : renew(state);
  }
}

function connect(state: SessionState, now: number): Step {
  const wrong = clockFault(state, now);
  if (wrong !== undefined) {
    const report: SessionEffect = { type: "report", up: false, message: wrong };
    return [{ ...state, phase: "waiting" }, [clockTimer("connect"), report]];
  }
  if (now >= state.certificate.notAfter) return expired(state, "the certificate has expired");
  const connection = state.connection + 1;
  return [
    { ...state, phase: "connecting", connection },
    [
      { type: "connect", connection, endpoint: state.endpoint },
      { type: "timer", timer: "welcome", afterMs: WELCOME_MS_MAX },
    ],
  ];
}

function clockFault({ certificate }: SessionState, now: number): string | undefined {
  const { notBefore, notAfter } = certificate;
  // A time that the certificate does not say is 0, and proves nothing.
  return clockProblem(now, {
    signedMs: notBefore || undefined,
    untilMs: notAfter === 0 ? undefined : notAfter + RENEW_LATE_MS_MAX,
  });
}

function clockTimer(timer: "connect" | "renew"): SessionEffect {
  return { type: "timer", timer, afterMs: CLOCK_CHECK_MS };
}

function welcomed(state: SessionState, spreadMs: number, now: number): Step {
  return [
    { ...state, phase: "up", upSince: now, spreadMs: boundedSpread(spreadMs) },
    [cancel("welcome"), { type: "report", up: true, message: "connected" }],
  ];
}

function leave(state: SessionState, spreadMs: number, random: Random): Step {
  const fresh = { endpoint: 0, failures: 0, shortLived: 0 };
  const next = { ...state, ...fresh, spreadMs: boundedSpread(spreadMs) };
  return waiting(next, next.spreadMs, "the hub asked to come back later", random);
}

function lost(
  state: SessionState,
  event: Readonly<{ kind: LostKind; message: string }>,
  now: number,
  random: Random,
): Step {
  if (event.kind === "fenced") return drain(state, now, random);
  if (event.kind === "expired") {
    return joined([state, [disconnectOf(state), cancel("welcome")]], (next) =>
      expired(next, event.message),
    );
  }
  if (state.phase === "up") {
    const wasStable = now - state.upSince >= STABLE_MS_MIN;
    const shortLived = wasStable ? 0 : state.shortLived + 1;
    const next = { ...state, endpoint: 0, failures: 0, shortLived };
    return waiting(
      next,
      ceilingMs(event.kind, state.spreadMs, shortLived - 1),
      event.message,
      random,
    );
  }
  const isRoundOver = state.endpoint + 1 >= state.endpoints;
  const endpoint = isRoundOver ? 0 : state.endpoint + 1;
  const failuresMax = event.kind === "later" ? ANSWERED_FAILURES_MAX : Number.MAX_SAFE_INTEGER;
  const failures = Math.min(failuresMax, isRoundOver ? state.failures + 1 : state.failures);
  const roundMs = ceilingMs(event.kind, state.spreadMs, state.failures - STEADY_FAILURES);
  const waitMs = isRoundOver ? roundMs : RETRY_MS.base;
  return waiting({ ...state, endpoint, failures }, waitMs, event.message, random);
}

/** Never below the announced spread; doubled as often as that, up to a cap by what is wrong. */
function ceilingMs(kind: LostKind, spreadMs: number, doublings: number): number {
  if (kind === "refused") return RETRY_MS.cap;
  const doubled = RETRY_MS.base * 2 ** Math.min(Math.max(0, doublings), 30);
  const capMs = kind === "later" ? RETRY_ANSWERED_MS_CAP : RETRY_MS.cap;
  return Math.max(spreadMs, Math.min(capMs, doubled));
}

/** From a connection into the wait for the next one: full jitter over the ceiling. */
function waiting(state: SessionState, waitMsMax: number, message: string, random: Random): Step {
  return [
    { ...state, phase: "waiting" },
    [
      disconnectOf(state),
      cancel("welcome"),
      { type: "timer", timer: "connect", afterMs: Math.floor(random() * waitMsMax) },
      { type: "report", up: false, message },
    ],
  ];
}

function expired(state: SessionState, message: string): Step {
  const report: SessionEffect = { type: "report", up: false, message };
  const next: SessionState = { ...state, phase: "expired" };
  return next.renewing ? [next, [report]] : joined([next, [report]], renew);
}

function renew(state: SessionState): Step {
  return [
    { ...state, renewing: true },
    [cancel("renew"), { type: "renew", endpoint: state.renewFailures }],
  ];
}

function renewed(state: SessionState, fresh: CertificateTimes, now: number, random: Random): Step {
  const certificate = withJitter(fresh, random);
  const next = { ...state, certificate, renewing: false, renewFailures: 0 };
  const planned: Step = [next, [renewTimer(certificate, now)]];
  if (state.phase === "expired") return joined(planned, (each) => connect(each, now));
  if (state.phase === "draining") {
    return joined([next, [...planned[1], disconnectOf(state)]], deliver);
  }
  if (state.phase !== "up") return planned;
  const reconnect: SessionEffect[] = [
    disconnectOf(state),
    { type: "report", up: false, message: "reconnecting with the new certificate" },
  ];
  return joined([next, [...planned[1], ...reconnect]], (each) => connect(each, now));
}

function renewalFailed(state: SessionState, message: string, random: Random): Step {
  const doubled = RETRY_MS.base * 2 ** Math.min(state.renewFailures, 30);
  const afterMs = Math.floor(RETRY_MS.base + random() * Math.min(RETRY_MS.cap, doubled));
  const retry: SessionEffect = { type: "timer", timer: "renew", afterMs };
  const next = { ...state, renewing: false, renewFailures: state.renewFailures + 1 };
  return state.phase === "expired"
    ? [next, [retry, { type: "report", up: false, message }]]
    : [next, [retry]];
}

function withJitter(times: CertificateTimes, random: Random): CertificateTimes {
  const { renewAt, notAfter } = times;
  const span = Math.max(0, notAfter - renewAt) * RENEW_JITTER_SHARE;
  return { ...times, renewAt: renewAt + Math.floor(random() * span) };
}

function renewTimer({ renewAt }: CertificateTimes, now: number): SessionEffect {
  const afterMs = Math.min(RENEW_CHECK_MS_MAX, Math.max(0, renewAt - now));
  return { type: "timer", timer: "renew", afterMs };
}

function boundedSpread(spreadMs: number): number {
  return Math.min(SPREAD_MS_MAX, Math.max(RETRY_MS.base, spreadMs));
}

function isCurrent(state: SessionState, event: Readonly<{ connection: number }>): boolean {
  return event.connection === state.connection;
}

function isConnected({ phase }: SessionState): boolean {
  return phase === "connecting" || phase === "up";
}

function disconnectOf({ connection }: SessionState): SessionEffect {
  return { type: "disconnect", connection };
}

function cancel(timer: TimerName): SessionEffect {
  return { type: "cancel", timer };
}

/** Goes on from a step's state; effects of both, in order. */
function joined([state, effects]: Step, next: (state: SessionState) => Step): Step {
  const [last, more] = next(state);
  return [last, [...effects, ...more]];
}
