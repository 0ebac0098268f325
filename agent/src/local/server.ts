/**
 * The agent's answers on this host: HTTP on a Unix socket that only its owner can open. Read-only, and alive
 * whatever the link does.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { dirname } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { isReadOnly } from "../store/state-directory.ts";
import type { LocalReport } from "./report.ts";

/** Longest answer that a caller reads: about 1000 instances with their steps. */
const REPORT_BYTES_MAX = 64 * 1024 * 1024;
const ANSWER_MS_MAX = 5_000;
const CONNECTIONS_MAX = 32;
/** sun_path on Linux, without the final NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

export interface LocalServer {
  close(): Promise<void>;
}

/** Throws FAILED_PRECONDITION `SOCKET_PATH_LONG` where the state directory's path is too long. */
export async function startLocalServer(
  path: string,
  report: () => LocalReport,
): Promise<LocalServer> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "SOCKET_PATH_LONG",
      `${path}: ${Buffer.byteLength(path)} bytes; a socket's path has at most ${SOCKET_PATH_BYTES_MAX}`,
      { next: "move state_dir to a shorter path" },
    );
  }
  const server = createServer({ requestTimeout: ANSWER_MS_MAX }, (incoming, response) => {
    if (incoming.method !== "GET" || incoming.url !== "/v1/report") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(report()));
  });
  server.maxConnections = CONNECTIONS_MAX;
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          if (!isReadOnly(dirname(path))) rmSync(path, { force: true });
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

/** The running agent's report. Throws UNAVAILABLE `AGENT_SILENT`. */
export async function askLocalServer(path: string): Promise<LocalReport> {
  return await new Promise((resolve, reject) => {
    const silent = (cause: unknown) =>
      reject(new Fault("UNAVAILABLE", "AGENT_SILENT", `${path}: no answer`, { cause }));
    const asked = request({ socketPath: path, path: "/v1/report", timeout: ANSWER_MS_MAX });
    asked.once("timeout", () => asked.destroy(new Error("timeout")));
    asked.once("error", silent);
    asked.once("response", (response) => {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      response.on("data", (chunk: Uint8Array) => {
        bytes += chunk.length;
        if (bytes > REPORT_BYTES_MAX) response.destroy(new Error("too long"));
        else chunks.push(chunk);
      });
      response.once("error", silent);
      response.once("end", () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")) as LocalReport);
        } catch (error) {
          silent(error);
        }
      });
    });
    asked.end();
  });
}
