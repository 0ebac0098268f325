/** Releases of a small product for tests of the engine: their content, and blueprints with the resources asked for. */
import { create } from "@bufbuild/protobuf";
import { type Blueprint, BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { pack } from "tar-stream";

export const VENDOR = idOf("vendor", "00000000-0000-7000-8000-000000000001");

/**
 * For real processes: notes each start in its data directory, then listens and tells its pid to whoever connects. In
 * mode brief it ends soon after.
 */
export const PROGRAM = `
import { appendFileSync } from "node:fs";
import { createServer } from "node:net";
const { HOLDFAST_DATA_DIR, HOLDFAST_PORT_HTTP } = process.env;
appendFileSync(HOLDFAST_DATA_DIR + "/starts", process.pid + "\\n");
console.log("hello");
createServer((socket) => {
  socket.on("error", () => {}).end(String(process.pid));
  if (process.env.MODE !== "brief") return;
  console.error("cannot reach \\u001b[31mthe source");
  setTimeout(() => process.exit(3), 30);
}).listen(Number(HOLDFAST_PORT_HTTP ?? 0), "127.0.0.1");
`;

export type ResourceInput = Readonly<{
  id?: string;
  mode?: string;
  dependsOn?: readonly string[];
  args?: readonly string[];
  readyMsMax?: number;
  /** It listens nowhere. */
  portless?: boolean;
  secretFiles?: Readonly<Record<string, string>>;
}>;

/** Another instance that the release names. */
export type InstanceInput = Readonly<{
  name: string;
  product?: string;
  outputs: Record<string, string>;
}>;

export function blueprintOf(
  number: number,
  resources: readonly ResourceInput[],
  artefact: Uint8Array,
  instances: readonly InstanceInput[] = [],
): Blueprint {
  return create(BlueprintSchema, {
    vendorId: VENDOR,
    product: "etl",
    version: `${number}.0.0`,
    number: BigInt(number),
    artefacts: [
      {
        name: "worker",
        digest: digestOf(artefact),
        size: BigInt(artefact.length),
        mediaType: "application/x-tar",
      },
    ],
    instances: instances.map((each) => ({ product: "etl", ...each })),
    secrets: resources.flatMap(({ secretFiles = {} }) =>
      Object.keys(secretFiles).map((name) => ({ name, description: "" })),
    ),
    resources: resources.map(
      ({
        id = "worker",
        mode = "",
        dependsOn = [],
        args = [],
        portless,
        readyMsMax = 400,
        ...rest
      }) => ({
        id,
        kind: "process",
        dependsOn: [...dependsOn],
        spec: {
          artefact: "worker",
          argv: ["node", "main.mjs", ...args],
          env: { MODE: mode, RELEASE: String(number) },
          ...(portless ? {} : { ports: { http: {} }, readiness: readinessOf(readyMsMax) }),
          ...(rest.secretFiles && { secretFiles: { ...rest.secretFiles } }),
        },
      }),
    ),
    outputs: Object.fromEntries(
      resources
        .filter(({ portless }) => !portless)
        .map(({ id = "worker" }) => [
          id.replaceAll("-", "_"),
          `http://127.0.0.1:\${resources.${id}.outputs.ports.http}`,
        ]),
    ),
  });
}

function readinessOf(deadlineMs: number) {
  return { tcp: { port: "http" }, intervalMs: 20, timeoutMs: 100, deadlineMs };
}

export async function tarOf(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const tar = pack();
  for (const [name, content] of Object.entries(files))
    tar.entry({ name, mtime: new Date(0) }, content);
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}
