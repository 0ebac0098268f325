/**
 * Brings a fleet to where it should be, from nothing or from whatever is there: every part looks first, and
 * all of it goes through the command line that everybody has.
 */
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Fleet } from "./fleet.ts";
import {
  freeSubscriptionsManifest,
  groundManifest,
  instancesManifest,
  membersManifest,
  proSubscriptionManifest,
  TENANTS,
} from "./manifests.ts";

export const RELEASES = ["1.0.0", "1.1.0", "1.2.0"] as const;
const FIRST_ROWS = 500;
const READY_TIMEOUT = "180s";
/** Exit code of `holdfast wait` if the attempt was returned from: the release before serves. */
const ROLLED_BACK = 7;

export type FleetOptions = Readonly<{
  portsFrom: number;
  sampleWindowMs: number;
  /** Of the engine that agents may run containers in. */
  containerSocket?: string | undefined;
  say(line: string): void;
}>;

export async function bringUp(fleet: Fleet, options: FleetOptions): Promise<void> {
  const { say } = options;
  await fleet.writeHubConfig(options.portsFrom);
  say("hub: starting with its own PostgreSQL");
  await fleet.startHub();
  writeContexts(fleet);
  say("sources: filling two databases with rows");
  fleet.startSource("free", ["acme", "globex"], FIRST_ROWS);
  fleet.startSource("pro", ["initech"], FIRST_ROWS);
  const isNew = !(await isSetUp(fleet));
  if (isNew) await offerProduct(fleet, say);
  say("agents: joining a hosted cell and a cell of initech's");
  await Promise.all([joinCell(fleet, "hosted", options), joinCell(fleet, "byoa", options)]);
  if (isNew) {
    say("subscriptions: acme and globex on free, initech on pro");
    await subscribe(fleet);
    await issueTenantTokens(fleet);
  }
  writeContexts(fleet);
  say("instances: waiting until they are ready and measured");
  const until = isNew ? untilMeasured : untilBack;
  await Promise.all([until(fleet, "etl-free", [], say), until(fleet, "etl", ["initech"], say)]);
}

type Until = (
  fleet: Fleet,
  name: string,
  tenant: readonly [string?],
  say: FleetOptions["say"],
) => Promise<void>;

const waitFor = (name: string, [tenant]: readonly [string?], conditions: readonly string[]) => {
  const whose = tenant === undefined ? [] : ["--tenant", tenant];
  const each = conditions.flatMap((condition) => ["--for", condition]);
  return ["wait", "instance", name, ...whose, ...each, "--timeout", READY_TIMEOUT];
};

const untilMeasured: Until = async (fleet, name, tenant) => {
  await fleet.cli(waitFor(name, tenant, ["Ready", "Metered"]));
};

/**
 * As it was when the fleet ended, which need not be well: a release that was returned from, a stopped instance and
 * a deleted one are left as they are and only told of.
 */
const untilBack: Until = async (fleet, name, tenant, say) => {
  // What was rolled back serves its old release, and gets as far as that one.
  for (const conditions of [
    ["Connected", "Ready", "Healthy", "Metered"],
    ["Healthy", "Metered"],
  ]) {
    const { code, stderr } = await fleet.tryCli(waitFor(name, tenant, conditions));
    if (code === 0) return;
    const line = stderr.split("\n").find((each) => each.startsWith("error: ")) ?? stderr;
    say(line.replace(/^error: /, ""));
    if (code !== ROLLED_BACK) return;
  }
};

/** Whether the last thing of the set-up is there; if not, all of it is gone through again. */
async function isSetUp(fleet: Fleet): Promise<boolean> {
  const last = TENANTS.at(-1) ?? "";
  if (!existsSync(join(fleet.layout.tokens, last))) return false;
  return (await fleet.tryCli(["get", "instance", "etl-free", "-o", "name"])).code === 0;
}

/** Agents and their workloads first, then what feeds them, then the hub; each is tried whatever became of the others. */
export async function takeDown(fleet: Fleet): Promise<void> {
  fleet.abandonSetUp();
  const problems: unknown[] = [];
  for (const part of [
    () => [fleet.haltAgent("hosted"), fleet.haltAgent("byoa")],
    () => [fleet.stopSource("free"), fleet.stopSource("pro")],
    () => [fleet.stopHub()],
  ]) {
    for (const end of await Promise.allSettled(part())) {
      if (end.status === "rejected") problems.push(end.reason);
    }
  }
  if (problems.length > 0) throw problems[0];
}

export function manifestPath(fleet: Fleet, release: string): string {
  return join(fleet.layout.manifests, `etl-${release}.yaml`);
}

async function offerProduct(fleet: Fleet, say: (line: string) => void): Promise<void> {
  const { layout } = fleet;
  const example = (file: string) => join(layout.root, "examples/etl", file);
  if (!existsSync(layout.releaseKey)) {
    say("release key: making one for development");
    await fleet.cli(["release", "key", "create", "--out", layout.releaseKey]);
  }
  await fleet.cli(["key", "set", "--key", layout.releaseKey]);
  const offer = ["product.yaml", "free.yaml", "pro.yaml"].flatMap((file) => ["-f", example(file)]);
  await fleet.cli(["apply", "-f", "-", ...offer], groundManifest());
  for (const release of RELEASES) {
    say(`release ${release}: signing and publishing`);
    const blueprint = example(`release-${release.slice(0, 3)}.yaml`);
    await fleet.cli(["release", "publish", "-f", blueprint, "--key", layout.releaseKey]);
    const sources = { free: layout.source("free").file, pro: layout.source("pro").file };
    writeFileSync(manifestPath(fleet, release), instancesManifest(release, sources));
  }
}

async function joinCell(fleet: Fleet, cell: "hosted" | "byoa", options: FleetOptions) {
  const whose = cell === "byoa" ? ["--tenant", "initech"] : [];
  const { containerSocket, sampleWindowMs } = options;
  const engine = containerSocket === undefined ? {} : { container_socket: containerSocket };
  await fleet.startAgent(cell, { sample_window_ms: sampleWindowMs, ...engine }, () =>
    fleet.cli(["cell", "token", cell, ...whose]),
  );
}

async function subscribe(fleet: Fleet): Promise<void> {
  await fleet.cli(["apply", "-f", "-"], proSubscriptionManifest());
  const there = await fleet.tryCli(["get", "instance", "etl-free", "-o", "name"]);
  if (there.code !== 0) {
    // What a person changed since, such as another release, is left as it is.
    await fleet.cli(["apply", "-f", manifestPath(fleet, RELEASES[0])]);
  }
  await fleet.cli(["apply", "-f", "-"], freeSubscriptionsManifest());
}

async function issueTenantTokens(fleet: Fleet): Promise<void> {
  await fleet.cli(["apply", "-f", "-"], membersManifest());
  for (const tenant of TENANTS) {
    const file = join(fleet.layout.tokens, tenant);
    if (existsSync(file)) continue;
    writeFileSync(file, await fleet.cli(["member", "token", "admin", "--tenant", tenant]));
    chmodSync(file, 0o600);
  }
}

/** One context for the vendor's owner and one for each tenant that has a token. */
function writeContexts(fleet: Fleet): void {
  const { layout } = fleet;
  const api = `https://${fleet.endpoints()?.api}`;
  const context = (token: string) => ({ api, ca_file: layout.hub.ca, token_file: token });
  const tenants = TENANTS.map((name) => [name, join(layout.tokens, name)] as const);
  const contexts = {
    vendor: context(layout.hub.ownerToken),
    ...Object.fromEntries(
      tenants.filter(([, file]) => existsSync(file)).map(([name, file]) => [name, context(file)]),
    ),
  };
  writeFileSync(layout.context, `${JSON.stringify({ current: "vendor", contexts }, null, 2)}\n`, {
    mode: 0o600,
  });
}
