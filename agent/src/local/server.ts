/**
 * The agent's answers on this host: HTTP on a Unix socket that only its owner can open, alive whatever the link does.
 * Beside its report it takes what the customer approves here: that data is destroyed, that much of it goes out of service.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestOptions, request } from "node:http";
import { dirname } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { isReadOnly } from "../store/state-directory.ts";
import type { LocalReport } from "./report.ts";

/** Longest answer that a caller reads: about 1000 instances with their steps. */
const REPORT_BYTES_MAX = 64 * 1024 * 1024;
const ANSWER_MS_MAX = 5_000;
const CONNECTIONS_MAX = 32;
/** sun_path on Linux, without the final NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Of a request to destroy. */
const ASKED_BYTES_MAX = 4_096;
/** Longer than any step may take. */
const DESTROY_MS_MAX = 660_000;

export type DestroyAsked = Readonly<{ instanceId: string; name: string }>;
/** `state`: a name of ActionState. */
export type DestroyAnswer = Readonly<{ state: string; reason: string; message: string }>;

/** What the customer can approve on this host. */
export type LocalActs = Readonly<{
  destroy(asked: DestroyAsked): Promise<DestroyAnswer>;
  allowRemoval(asked: DestroyAsked): Promise<DestroyAnswer>;
}>;

export interface LocalServer {
  close(): Promise<void>;
}

/** Throws FAILED_PRECONDITION `SOCKET_PATH_LONG` where the state directory's path is too long. */
export async function startLocalServer(
  path: string,
  report: () => LocalReport,
  acts: LocalActs,
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
    const tell = (answer: unknown): void => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    };
    const asked = `${incoming.method} ${incoming.url}`;
    if (asked === "GET /v1/report") tell(report());
    else if (asked === "POST /v1/destroy" || asked === "POST /v1/allow-removal") {
      readAsked(incoming)
        .then(asked === "POST /v1/destroy" ? acts.destroy : acts.allowRemoval)
        .then(tell, () => response.writeHead(400).end());
    } else response.writeHead(404).end();
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

async function readAsked(incoming: IncomingMessage): Promise<DestroyAsked> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > ASKED_BYTES_MAX) throw new Error("too long");
    chunks.push(chunk);
  }
  const { instanceId, name } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  if (typeof name !== "string") throw new Error("no name");
  uuidOf("instance", instanceId);
  return { instanceId, name };
}

/** The running agent's report. Throws UNAVAILABLE `AGENT_SILENT`. */
export function askLocalServer(path: string): Promise<LocalReport> {
  return ask(path, { path: "/v1/report", timeout: ANSWER_MS_MAX }, "");
}

/** How it ended, or that it waits. Throws UNAVAILABLE `AGENT_SILENT`. */
export function askToAct(
  path: string,
  act: "destroy" | "allow-removal",
  asked: DestroyAsked,
): Promise<DestroyAnswer> {
  const how = { method: "POST", path: `/v1/${act}`, timeout: DESTROY_MS_MAX };
  return ask(path, how, JSON.stringify(asked));
}

async function ask<Answer>(path: string, how: RequestOptions, body: string): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const silent = (cause: unknown) =>
      reject(new Fault("UNAVAILABLE", "AGENT_SILENT", `${path}: no answer`, { cause }));
    const asked = request({ socketPath: path, ...how });
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
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")) as Answer);
        } catch (error) {
          silent(error);
        }
      });
    });
    asked.end(body);
  });
}
