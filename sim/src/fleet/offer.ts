/** Offers the simulator's own product through the commands that everybody has, for a hub that has none yet. */
import { join } from "node:path";
import type { Context } from "@holdfast/cli/src/contexts.ts";
import { openHub } from "@holdfast/cli/src/hub-client.ts";
import { run } from "@holdfast/cli/src/run.ts";
import type { Terminal } from "@holdfast/cli/src/terminal.ts";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { InstanceWish } from "../worker/messages.ts";

const PRODUCT = join(import.meta.dirname, "../../product");

/** What agents hold of it. */
export const SIM_PRODUCT: InstanceWish = {
  product: "sim",
  release: "1.0.0",
  plan: "sim",
  environment: "",
  parameters: {},
};

/** `releaseKey` is the file of the vendor's release key; it becomes that where the vendor has none. */
export async function offerSimProduct(
  terminal: Terminal,
  context: Context,
  releaseKey: string,
  version: string,
): Promise<void> {
  const { api, caFile, tokenFile } = context;
  const hub = ["--api", api, ...flag("--ca-file", caFile), ...flag("--token-file", tokenFile)];
  const commands = [
    ...((await hasReleaseKeys(terminal, context)) ? [] : [["key", "set", "--key", releaseKey]]),
    ["apply", "-f", join(PRODUCT, "product.yaml")],
    ["release", "publish", "-f", join(PRODUCT, "release.yaml"), "--key", releaseKey],
  ];
  for (const command of commands) {
    const said: string[] = [];
    const quiet = {
      ...terminal,
      out: () => undefined,
      err: (text: string) => void said.push(text),
    };
    const code = await run(quiet, [...command, ...hub], version);
    if (code === 0) continue;
    const message = `holdfast ${command.slice(0, 2).join(" ")}: ${said.join("").trim()}`;
    throw new Fault("FAILED_PRECONDITION", "OFFER_FAILED", message);
  }
}

async function hasReleaseKeys(terminal: Terminal, context: Context): Promise<boolean> {
  const hub = await openHub(terminal, context);
  try {
    const { keySets } = await hub.call(() => hub.client(HubService).listKeySets({}));
    return keySets.some(({ purpose }) => purpose === KeyPurpose.RELEASE);
  } finally {
    hub.close();
  }
}

function flag(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [name, value];
}
