/** Where the local fleet keeps things: all below one folder, so that `npm run reset` is one removal. */
import { join, resolve } from "node:path";

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
