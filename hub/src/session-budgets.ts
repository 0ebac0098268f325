/**
 * What a peer of one HTTP/2 connection may ask for without ever getting an answer: pings, and streams that are opened
 * to be reset at once, which cost it nothing and us a call each. Beyond its budget the connection ends with GOAWAY
 * ENHANCE_YOUR_CALM (RFC 9113, 7); other connections are not affected. The same on every port.
 */
import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import type { Clock } from "@holdfast/shared/clock.ts";
import { TokenBucket } from "@holdfast/shared/token-bucket.ts";

/** At once, and the time in which another one is earned. */
export type Budget = Readonly<{ burst: number; earnMs: number }>;
export type Budgets = Readonly<{ pings: Budget; resets: Budget }>;
/** What was too much. */
export type Excess = "pings" | "resets";

/** `ended` hears of a connection that was ended by us. */
export function keepCalm(
  session: Http2Session,
  budgets: Budgets,
  clock: Clock,
  ended: (excess: Excess) => void = () => undefined,
): void {
  const spend = (excess: Excess) => {
    const { burst, earnMs } = budgets[excess];
    const bucket = new TokenBucket({ burst, perSecond: 1_000 / earnMs }, clock);
    return () => {
      if (bucket.take() || session.destroyed) return;
      const code = constants.NGHTTP2_ENHANCE_YOUR_CALM;
      session.goaway(code, 0, Buffer.from(`too_many_${excess}`));
      session.destroy(undefined, code);
      ended(excess);
    };
  };
  const spendReset = spend("resets");
  session.on("ping", spend("pings"));
  session.on("stream", (stream: ServerHttp2Stream) => {
    // Not its "aborted": a call that is answered before its reset is looked at was worth no less.
    stream.once("close", () => {
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) spendReset();
    });
  });
}
