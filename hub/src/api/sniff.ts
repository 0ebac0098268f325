/**
 * Tells by its first bytes what a connection speaks, so that one port serves TLS, HTTP/2 without TLS and
 * HTTP/1.1. Reads no more than it needs, puts back what it read, and gives up on who stays silent.
 */
import type { Socket } from "node:net";

export type Protocol = "tls" | "http2" | "http1";

/** First bytes of the HTTP/2 connection preface (RFC 9113, 3.4) that no HTTP/1.1 method begins with. */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0");
/** Content type of a TLS record that carries a handshake (RFC 8446, 5.1). */
const TLS_HANDSHAKE = 0x16;

/** What the bytes say; undefined while they may still become either. */
export function judgeFirstBytes(bytes: Uint8Array): Protocol | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === TLS_HANDSHAKE) return "tls";
  const length = Math.min(bytes.length, HTTP2_PREFACE.length);
  if (!HTTP2_PREFACE.subarray(0, length).equals(bytes.subarray(0, length))) return "http1";
  return length === HTTP2_PREFACE.length ? "http2" : undefined;
}

/** Calls `decided` once, with all bytes back in the socket; destroys a socket that is silent for `msMax`. */
export function sniff(socket: Socket, msMax: number, decided: (protocol: Protocol) => void): void {
  const chunks: Buffer[] = [];
  const timer = setTimeout(() => socket.destroy(), msMax);
  const onReadable = () => {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const protocol = judgeFirstBytes(bytes);
    if (protocol === undefined) return;
    stop();
    socket.unshift(bytes);
    decided(protocol);
  };
  const stop = () => {
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.off("close", stop);
    socket.off("error", onError);
  };
  const onError = () => socket.destroy();
  socket.on("readable", onReadable);
  socket.on("close", stop);
  socket.on("error", onError);
}
