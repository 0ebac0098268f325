/** What `npm start` shows when everything runs: what is where, and what to try next. */
import { basename, join, relative } from "node:path";
import type { Fleet } from "./fleet.ts";
import { manifestPath, RELEASES } from "./setup.ts";

const [FIRST, UPGRADE] = RELEASES;

/** `directory` is where the person is, so that the commands work as they are shown. */
export async function finalScreen(fleet: Fleet, directory: string): Promise<string> {
  const [instances, seats, agents] = await Promise.all(
    ["instances", "seats", "agents"].map((kind) => fleet.cli(["get", kind])),
  );
  const items = await running(fleet);
  const urls = items
    .map(({ metadata, status }) => `${metadata.name.padEnd(8)}  ${status.outputs.url}\n`)
    .join("");
  const isUpgraded = items.every(({ status }) => status.committedRelease === UPGRADE);
  const other = isUpgraded ? FIRST : UPGRADE;
  const api = `https://${fleet.endpoints()?.api}`;
  const { home, context } = fleet.layout;
  const isFound = home === join(directory, ".holdfast");
  const given = isFound ? "" : `  export HOLDFAST_CONTEXT_FILE=${context}\n`;
  const path = (release: string) => {
    const manifest = manifestPath(fleet, release);
    return isFound ? relative(directory, manifest) : manifest;
  };
  return `
Holdfast is running.  hub ${api}  state ${isFound ? basename(home) : home}

${instances}
${seats}
${agents}
${urls}
Try, in another terminal:
${given}  ./holdfast apply -f ${path(other)} --wait   ${isUpgraded ? "take both instances back to" : "upgrade both instances to"} ${other}
  ./holdfast apply -f ${path("1.2.0")} --wait   1.2.0 never gets ready: it returns by itself
  ./holdfast describe instance etl-free                        what happened and why
  npm run hub -- stop                                          workloads go on; back with: npm run hub -- start
  ./holdfast usage                                             what each tenant used
  ./holdfast --context acme get seats                          what a tenant sees
  ./holdfast events --follow                                   every change, by whom

Ctrl-C ends everything; npm start goes on from here; npm run reset forgets it all.
`;
}

type Running = Readonly<{
  metadata: Readonly<{ name: string }>;
  /** The outputs are what its agent published. */
  status: Readonly<{ committedRelease: string; outputs: Readonly<{ url: string }> }>;
}>;

async function running(fleet: Fleet): Promise<readonly Running[]> {
  const said = await fleet.cli(["get", "instances", "-o", "json"]);
  return (JSON.parse(said) as { items: readonly Running[] }).items;
}
