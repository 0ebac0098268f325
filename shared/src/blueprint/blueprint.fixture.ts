/** A sound blueprint for tests, and ways to break it. */
import { createHash } from "node:crypto";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { Fault } from "../fault.ts";
import { parseYaml } from "../yaml.ts";
import { compileBlueprint } from "./compile.ts";
import { parseBlueprint } from "./draft.ts";

export const VENDOR_ID = "ven_01980000000070008000000000000001";

const TEXT = `
apiVersion: holdfast/v1
kind: Blueprint
product: etl
version: 1.1.0
number: 2
description: Copies rows
parameters:
  type: object
  properties:
    source: {type: string}
    batchRows: {type: integer, minimum: 1, maximum: 10000, default: 500}
    password: {type: string, writeOnly: true, default: none}
  required: [source]
secrets: [{name: source_dsn, description: where to read}]
artefacts: [{name: worker, path: dist}]
resources:
  - id: front
    kind: process
    spec:
      artefact: worker
      argv: [node, front.mjs, --to, "http://127.0.0.1:\${resources.worker.outputs.ports.http}"]
  - id: worker
    kind: process
    dependsOn: []
    spec:
      artefact: worker
      argv: [node, worker.mjs, --source, "\${params.source}"]
      env: {BATCH_ROWS: "\${params.batchRows}", REGION: "eu-\${facts.region}"}
      secretFiles: {source_dsn: "\${secrets.source_dsn}"}
      ports: {http: {}}
      readiness: {http: {port: http, path: /healthz}, intervalMs: 200, timeoutMs: 1000, deadlineMs: 30000}
      liveness: {http: {port: http, path: /healthz}, intervalMs: 5000, timeoutMs: 2000, failures: 3}
      stop: {signal: SIGTERM, graceMs: 10000, drainMs: 500}
      restart: {baseMs: 500, capMs: 30000}
outputs: {url: "http://127.0.0.1:\${resources.worker.outputs.ports.http}"}
meters:
  - {name: rows, unit: rows, kind: counter, gap: none, maxRatePerSecond: 1000000,
     scrape: {resource: worker, port: http, path: /metrics, metric: etl_rows_total, seatLabel: seat, sourceLabel: source}}
  - {name: cpu, unit: cpu_ms, kind: counter, maxRatePerSecond: 256000, driver: {resource: worker, counter: cpu_ms}}
`;

// biome-ignore lint/suspicious/noExplicitAny: tests break documents in ways that no type allows
export type Loose = any;

/** A fresh document; `change` may break it. */
export function documentWith(change: (document: Loose) => void = () => undefined): unknown {
  const document = structuredClone(parseYaml(TEXT, "blueprint.yaml"));
  change(document);
  return document;
}

export function digestLike(text: string): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

export function compiledWith(change?: (document: Loose) => void): Blueprint {
  return compileBlueprint(parseBlueprint(documentWith(change)), {
    vendorId: VENDOR_ID,
    artefacts: [
      { name: "worker", digest: digestLike("worker"), size: 10, mediaType: "application/x-tar" },
    ],
  });
}

/** The violations of a fault that `run` throws, as `path: message`; none if it throws nothing. */
export function violationsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return error.violations.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}
