/** What `npm start` shows when everything runs: what is where, and what to try next. */
import { basename, dirname, relative } from "node:path";
import type { Fleet } from "./fleet.ts";
import { manifestPath } from "./setup.ts";

export async function finalScreen(fleet: Fleet): Promise<string> {
  const [instances, seats, agents] = await Promise.all(
    ["instances", "seats", "agents"].map((kind) => fleet.cli(["get", kind])),
  );
  const urls = await instanceUrls(fleet);
  const api = `https://${fleet.endpoints()?.api}`;
  const { home } = fleet.layout;
  const path = (release: string) => relative(dirname(home), manifestPath(fleet, release));
  return `
Holdfast is running.  hub ${api}  state ${basename(home)}

${instances}
${seats}
${agents}
${urls}
Try, in another terminal:
  ./holdfast apply -f ${path("1.1.0")} --wait   upgrade both instances to 1.1.0
  ./holdfast apply -f ${path("1.2.0")} --wait   1.2.0 never gets ready: it returns by itself
  ./holdfast describe instance etl-free                        what happened and why
  npm run hub -- stop                                          workloads go on; back with: npm run hub -- start
  ./holdfast usage                                             what each tenant used
  ./holdfast --context acme get seats                          what a tenant sees
  ./holdfast events --follow                                   every change, by whom

Ctrl-C ends everything; npm start goes on from here; npm run reset forgets it all.
`;
}

/** Where each instance answers, as its agent published it. */
async function instanceUrls(fleet: Fleet): Promise<string> {
  type Instance = { metadata: { name: string }; status: { outputs: { url: string } } };
  const { items } = JSON.parse(await fleet.cli(["get", "instances", "-o", "json"])) as {
    items: readonly Instance[];
  };
  return items
    .map(({ metadata, status }) => `${metadata.name.padEnd(8)}  ${status.outputs.url}\n`)
    .join("");
}
