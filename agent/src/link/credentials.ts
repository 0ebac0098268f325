/**
 * How the agent knows the hub: TLS 1.3 with the pinned roots and nothing else, the endpoint's host in the
 * certificate's names. A subclass of grpc-js's credentials because those cannot resume a TLS session, and
 * because it tells which check failed.
 */
import { isIP, type Socket } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  createSecureContext,
  connect as tlsConnect,
} from "node:tls";
import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";

export type ClientTls = Readonly<{
  /** Host of the endpoint, which the server's certificate must name. */
  host: string;
  /** PEM of the roots that are trusted. */
  roots: readonly string[];
  /** PEM of chain and key; absent while enrolling. */
  certificate?: Readonly<{ chain: string; key: string }>;
  /** The ticket of an earlier connection to this endpoint; renewed by this one. */
  ticket: Ticket;
}>;

/** One per endpoint; belongs to whoever opens connections. `resumed`: the last connection was made with it. */
export type Ticket = { session?: Buffer; resumed?: boolean };

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type SecureConnectResult = Awaited<ReturnType<SecureConnector["connect"]>>;

export class HubCredentials extends ChannelCredentials {
  readonly #options: ConnectionOptions;
  readonly #ticket: Ticket;
  #failure: string | undefined;
  #shaken = false;

  constructor({ host, roots, certificate, ticket }: ClientTls) {
    super();
    this.#ticket = ticket;
    this.#options = {
      host,
      // Server names are never addresses (RFC 6066); the address is checked all the same.
      servername: isIP(host) === 0 ? host : "",
      ALPNProtocols: ["h2"],
      checkServerIdentity: (_, presented) => checkServerIdentity(host, presented),
      secureContext: createSecureContext({
        ca: [...roots],
        minVersion: "TLSv1.3",
        ...(certificate && { cert: certificate.chain, key: certificate.key }),
      }),
    };
  }

  /** Why there is no connection, as far as TLS knows; for a call that found none. */
  get failure(): string | undefined {
    // In TLS 1.3 a server judges the client's certificate after the client is done, and then only hangs up.
    return this.#shaken ? CLOSED_AFTER_HANDSHAKE : this.#failure;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(): SecureConnector {
    return {
      connect: (socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }

  #connect(socket: Socket): Promise<SecureConnectResult> {
    const { session } = this.#ticket;
    return new Promise((resolve, reject) => {
      const secured = tlsConnect({ ...this.#options, socket, ...(session && { session }) });
      // Stays on: later errors are told by HTTP/2, but one that nobody hears would end the process.
      secured.on("error", () => undefined);
      const failed = (error: Error) => {
        this.#failure = describeTlsFailure(error);
        // A ticket that did not work is not tried twice.
        delete this.#ticket.session;
        reject(error);
      };
      const closed = () => failed(new Error("closed during the TLS handshake"));
      secured.once("error", failed);
      secured.once("close", closed);
      secured.on("session", (next) => {
        this.#ticket.session = next;
      });
      secured.once("secureConnect", () => {
        secured.off("close", closed);
        secured.off("error", failed);
        this.#shaken = true;
        this.#ticket.resumed = secured.isSessionReused();
        resolve({ socket: secured, secure: true });
      });
    });
  }
}

const CLOSED_AFTER_HANDSHAKE =
  "the hub closed the connection: it does not accept this agent's certificate, or no connection now";

/** OpenSSL's and Node's codes, by the check that they stand for. */
const CHECKS: readonly (readonly [RegExp, string])[] = [
  [/ALTNAME|HOSTNAME/, "name"],
  [/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, "validity"],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|CERT_UNTRUSTED|SIGNATURE|INVALID_CA|INVALID_PURPOSE/,
    "issuer",
  ],
  [/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|WRONG_VERSION|HANDSHAKE_FAILURE/, "TLS version"],
];

/** One line: which check of the server's identity failed, or why there was no connection at all. */
export function describeTlsFailure(error: Error): string {
  const code = "code" in error ? String(error.code) : "";
  const check = CHECKS.find(([pattern]) => pattern.test(code))?.[1];
  return check === undefined
    ? `no connection: ${error.message}`
    : `server identity not accepted: ${check} (${error.message})`;
}
