/** Where the local fleet keeps things: all below one folder, so that `npm run reset` is one removal. */
import { join, resolve } from "node:path";
import { shown } from "../../shared/src/text.ts";
import { PORT_MAX } from "./ports.ts";

export type AgentLayout = Readonly<{
  name: string;
  config: string;
  state: string;
  token: string;
  log: string;
}>;

export type Layout = Readonly<{
  /** The checkout. */
  root: string;
  /** The fleet's state, 0700. */
  home: string;
  hub: Readonly<{
    config: string;
    data: string;
    endpoints: string;
    ca: string;
    ownerToken: string;
    log: string;
  }>;
  releaseKey: string;
  context: string;
  tokens: string;
  manifests: string;
  /** Records of the processes that this fleet started. */
  processes: string;
  agent(name: string): AgentLayout;
  source(name: string): Readonly<{ file: string; log: string }>;
}>;

/** `.holdfast` in the checkout, unless HOLDFAST_HOME names another folder: then several fleets run side by side. */
export function homeOf(root: string, env: Readonly<Record<string, string | undefined>>): string {
  return resolve(env["HOLDFAST_HOME"] ?? join(root, ".holdfast"));
}

/** Where a new fleet looks for its hub's three free ports. HOLDFAST_PORTS_FROM keeps fleets of one machine apart. */
export function portsFromOf(env: Readonly<Record<string, string | undefined>>): number {
  const given = env["HOLDFAST_PORTS_FROM"] ?? "7400";
  const port = Number(given);
  if (Number.isInteger(port) && port >= 1_024 && port <= PORT_MAX) return port;
  throw new Error(`HOLDFAST_PORTS_FROM: got ${shown(given)}; allowed: 1024 to ${PORT_MAX}`);
}

/**
 * The container engine of this fleet's agents, such as /var/run/docker.sock; none unless HOLDFAST_CONTAINER_SOCKET names it:
 * whoever may ask it has the rights of root.
 */
export function containerSocketOf(
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const given = env["HOLDFAST_CONTAINER_SOCKET"];
  return given === undefined || given === "" ? undefined : resolve(given);
}

export function layoutOf(root: string, home: string): Layout {
  const hubData = join(home, "hub");
  return {
    root,
    home,
    hub: {
      config: join(home, "hub.yaml"),
      data: hubData,
      endpoints: join(hubData, "endpoints.json"),
      ca: join(hubData, "ca.pem"),
      ownerToken: join(home, "tokens", "vendor"),
      log: join(home, "logs", "hub.log"),
    },
    releaseKey: join(home, "release-key.pem"),
    context: join(home, "context.yaml"),
    tokens: join(home, "tokens"),
    manifests: join(home, "manifests"),
    processes: join(home, "processes"),
    agent: (name) => ({
      name,
      config: join(home, "agents", `${name}.yaml`),
      state: join(home, "agents", name),
      token: join(home, "tokens", `join-${name}`),
      log: join(home, "logs", `agent-${name}.log`),
    }),
    source: (name) => ({
      file: join(home, "sources", `${name}.db`),
      log: join(home, "logs", `source-${name}.log`),
    }),
  };
}
