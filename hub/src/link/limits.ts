/** Every bound of the hub's two agent listeners, with its unit. None is left to a library's default. */

/** Largest message either way. A batch has at most 512 KiB, an assignment far less. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** Calls at once on one connection; an agent needs two streams and a few fetches. */
export const STREAMS_PER_CONNECTION_MAX = 64;
/** HTTP/2 session memory, in MB (Node's unit): a few messages in flight, not more. */
export const SESSION_MEMORY_MB_MAX = 16;
export const HEADER_LIST_BYTES_MAX = 16 * 1024;
export const CONNECTIONS_MAX = 20_000;
/** Of agents that are remembered as good, about 1 KiB each: one for each connection. */
export const CERTIFICATES_MAX = CONNECTIONS_MAX;

export const KEEPALIVE_MS = 10_000;
/** gRPC's own default: a busy process answers late, and to cut it off would only make it busier. */
export const KEEPALIVE_TIMEOUT_MS = 20_000;
/** A connection without a call is closed after this. */
export const IDLE_MS_MAX = 60_000;
export const HANDSHAKE_MS_MAX = 10_000;

/** Pings that a peer may send at once, and the time in which it earns another; ours sends one in 10 s. */
export const PINGS_BURST_MAX = 20;
export const PING_EARN_MS = 2_000;
/** Streams that a peer may reset at once, and the time in which it earns another; an agent gives up a few an hour. */
export const RESETS_BURST_MAX = 100;
export const RESET_EARN_MS = 50;

/** Handshakes a second. One core does about 680 full ones, so this leaves room for the work itself. */
export const HANDSHAKES_PER_SECOND_MAX = 500;
export const HANDSHAKES_BURST_MAX = 1_000;
/** From one address: many agents may stand behind one gateway. */
export const ADDRESS_HANDSHAKES_PER_SECOND_MAX = 100;
export const ADDRESS_HANDSHAKES_BURST_MAX = 400;
/** Addresses that are remembered; the one that was quiet longest is forgotten. */
export const ADDRESSES_MAX = 10_000;

/**
 * How long a ticket may resume a TLS session: half the life of an agent's certificate. Tickets are given at the
 * handshake only, so a shorter time would make a storm after a quiet hour one of full handshakes.
 */
export const TICKET_SECONDS_MAX = 12 * 3_600;

/** How far an agent's clock may be from the hub's before it is said. */
export const CLOCK_SKEW_MS_MAX = 120_000;

/** The first message of a stream must come within this. */
export const FIRST_MESSAGE_MS_MAX = 5_000;
/** Offers asked for at once; a slow agent has no more than these waiting for it. */
export const OFFERS_PAGE_MAX = 64;
/** Open orders of a cell that its agent has at once. */
export const ACTIONS_PAGE_MAX = 256;
/** Streams that are written to before other work gets its turn. */
export const FAN_OUT_TURN_STREAMS = 100;
export const STATUSES_PER_REPORT_MAX = 64;
/** Telemetry messages of one stream that are being kept; the agent is told of it. */
export const TELEMETRY_IN_FLIGHT_MAX = 4;
/** Of one agent, as they come; more is refused and counted as missing. */
export const TELEMETRY_BYTES_PER_SECOND_MAX = 1024 * 1024;
export const TELEMETRY_BYTES_BURST_MAX = 8 * 1024 * 1024;
export const HELD_MAX = 10_000;
export const ARTEFACT_CHUNK_BYTES_MAX = 256 * 1024;

/** Reconnects a second that the announced spread aims at, in a fleet of N: N / 500 s. */
export const RECONNECTS_PER_SECOND = 500;
export const SPREAD_MS_MIN = 1_000;

/** A note is sent again at half of its life; these bound what a wrong note could ask for. */
export const FRESHNESS_MS_MIN = 1_000;
export const FRESHNESS_MS_MAX = 6 * 3_600_000;

/** After a change its note follows within these: NOTE_MS_MIN and full jitter over NOTE_JITTER_MS. */
export const NOTE_MS_MIN = 500;
export const NOTE_JITTER_MS = 2_000;

/** Between tries of a use case that says "later". */
export const RETRY_BACKOFF = { baseMs: 250, capMs: 5_000 } as const;

/** The identity listener's: a request for a certificate and a token are small, its connections short. */
export const IDENTITY_MESSAGE_BYTES_MAX = 64 * 1024;
export const IDENTITY_CONNECTION_MS_MAX = 60_000;
export const IDENTITY_CONNECTION_GRACE_MS = 10_000;
/** Renewals of one agent at once, and in an hour; it needs two a day. */
export const RENEWALS_BURST_MAX = 5;
export const RENEWALS_PER_HOUR_MAX = 20;

/** Failed enrolments of one address in a minute. */
export const ENROLL_FAILURES_MAX = 10;
export const ENROLL_FAILURES_WINDOW_MS = 60_000;
export const ENROLLS_IN_FLIGHT_MAX = 256;

/** Times that tests shorten; the defaults are the constants above. */
export type LinkTiming = Readonly<{
  keepaliveMs: number;
  keepaliveTimeoutMs: number;
  firstMessageMs: number;
}>;
export const LINK_TIMING: LinkTiming = {
  keepaliveMs: KEEPALIVE_MS,
  keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS,
  firstMessageMs: FIRST_MESSAGE_MS_MAX,
};
