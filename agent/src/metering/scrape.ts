/**
 * Fetches a workload's metrics on loopback. What answers is the vendor's program, not ours: time, size and
 * redirects are bounded here.
 */
import { request } from "node:http";
import { Fault } from "@holdfast/shared/fault.ts";

const SCRAPE_MS_MAX = 2_000;
const SCRAPE_BYTES_MAX = 1024 * 1024;

/** The body of a 200. Throws UNAVAILABLE `SCRAPE_FAILED` for everything else. */
export function scrape(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const where = `http://127.0.0.1:${port}${path}`;
    const fail = (message: string, cause?: unknown) =>
      reject(new Fault("UNAVAILABLE", "SCRAPE_FAILED", `${where}: ${message}`, { cause }));
    const call = request(
      { host: "127.0.0.1", port, path, agent: false, signal: AbortSignal.timeout(SCRAPE_MS_MAX) },
      (response) => {
        if (response.statusCode !== 200) {
          response.destroy();
          return fail(`got status ${response.statusCode}; want 200`);
        }
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size > SCRAPE_BYTES_MAX) {
            response.destroy();
            fail(`more than ${SCRAPE_BYTES_MAX} bytes`);
          }
        });
        response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
        response.on("error", (error) => fail("the answer broke off", error));
      },
    );
    call.on("error", (error) => fail("no answer", error));
    call.end();
  });
}
