/**
 * A product whose workload shows that it has a secret by answering with its hash, and which says the secret
 * itself in its log, as careless programs do. A value that begins with `broken` makes it end.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Fleet } from "../../scripts/fleet/fleet.ts";

const WORKLOAD = `
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
const secret = readFileSync(process.env.HOLDFAST_SECRET_TOKEN_FILE, "utf8");
console.log("the token is " + secret);
if (secret.startsWith("broken")) process.exit(1);
const version = createHash("sha256").update(secret).digest("hex");
const server = createServer((_, answer) => answer.end(JSON.stringify({ version })));
server.listen(Number(process.env.HOLDFAST_PORT_HTTP), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`;

const BLUEPRINT = {
  apiVersion: "holdfast/v1",
  kind: "Blueprint",
  product: "vault",
  version: "1.0.0",
  number: 1,
  parameters: { type: "object", properties: {} },
  secrets: [{ name: "token", description: "what it shows the hash of" }],
  artefacts: [{ name: "worker", path: "dist" }],
  resources: [
    {
      id: "worker",
      kind: "process",
      spec: {
        artefact: "worker",
        argv: ["node", "main.mjs"],
        ports: { http: {} },
        secretFiles: { token: "$" + "{secrets.token}" },
        readiness: {
          http: { port: "http", path: "/" },
          ...{ intervalMs: 100, timeoutMs: 1_000, deadlineMs: 15_000 },
        },
        stop: { signal: "SIGTERM", graceMs: 5_000, drainMs: 500 },
      },
    },
  ],
  outputs: { url: "http://127.0.0.1:$" + "{resources.worker.outputs.ports.http}" },
};

const object = (kind: string, name: string, spec: object) =>
  JSON.stringify({ apiVersion: "holdfast/v1", kind, metadata: { name }, spec });

/** A hub with this product, and a hosted cell without an agent. `directory` gets the blueprint. */
export async function offerVault(fleet: Fleet, directory: string): Promise<void> {
  const { layout } = fleet;
  const dist = join(directory, "dist");
  mkdirSync(dist, { recursive: true });
  writeFileSync(join(dist, "main.mjs"), WORKLOAD);
  const blueprint = join(directory, "release.yaml");
  writeFileSync(blueprint, JSON.stringify(BLUEPRINT));
  await fleet.cli(["release", "key", "create", "--out", layout.releaseKey]);
  await fleet.cli(["key", "set", "--key", layout.releaseKey]);
  const offer = [
    object("Product", "vault", {}),
    object("Plan", "open", { product: "vault", tenancyModel: "TENANCY_MODEL_POOLED" }),
    object("Cell", "hosted", { kind: "CELL_KIND_HOSTED", region: "local" }),
  ];
  await fleet.cli(["apply", "-f", "-"], offer.join("\n---\n"));
  await fleet.cli(["release", "publish", "-f", blueprint, "--key", layout.releaseKey]);
}

export function vaultInstance(more: object = {}): string {
  const spec = { product: "vault", release: "1.0.0", plan: "open", cell: "hosted", ...more };
  return object("Instance", "vault", spec);
}

/** Where the CLI finds the fleet's hub. */
export function writeContext(fleet: Fleet): void {
  const { hub, context: path } = fleet.layout;
  const api = `https://${fleet.endpoints()?.api}`;
  const vendor = { api, ca_file: hub.ca, token_file: hub.ownerToken };
  const contexts = { current: "vendor", contexts: { vendor } };
  writeFileSync(path, JSON.stringify(contexts), { mode: 0o600 });
}
