/** `holdfast key set|list`: the key sets that agents pin. The next set is signed by the present one. */
import { create, type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import {
  KeyPurpose,
  type KeySet,
  KeySetSchema,
} from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { keyIdOf, signEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { enumWord } from "../format.ts";
import { readPublicKey, readSigningKey } from "../key-file.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";

const PURPOSES = { release: KeyPurpose.RELEASE, destroy: KeyPurpose.DESTROY } as const;
export const KEY_PURPOSES = ["release", "destroy"] as const;

export type KeySetOptions = HubOptions &
  Readonly<{
    key: readonly string[];
    signWith?: readonly string[];
    purpose?: (typeof KEY_PURPOSES)[number];
  }>;

/** `--key` names all keys of the new set; `--sign-with` a present key's file, by default the first new one. */
export async function setKeys(terminal: Terminal, options: KeySetOptions): Promise<void> {
  const purpose = PURPOSES[options.purpose ?? "release"];
  if (purpose === KeyPurpose.DESTROY && options.signWith === undefined) {
    const message =
      "--sign-with: a set of destroy keys is signed by a release key, and from the second set on by a present destroy key as well";
    throw new Fault("INVALID_ARGUMENT", "USAGE", message);
  }
  const publicKeys = await Promise.all(options.key.map((path) => readPublicKey(path, terminal)));
  const signers = options.signWith ?? options.key.slice(0, 1);
  const keys = await Promise.all(signers.map((path) => readSigningKey(path, terminal)));
  await withHub(terminal, options, async (hub) => {
    const client = hub.client(HubService);
    const { vendorId } = await hub.call(() => client.getHub({}));
    const { keySets } = await hub.call(() => client.listKeySets({}));
    const present = keySets
      .filter((each) => each.purpose === purpose)
      .map(({ version }) => version)
      .sort((a, b) => (a < b ? 1 : -1))[0];
    const set = create(KeySetSchema, {
      vendorId,
      version: (present ?? 0n) + 1n,
      purpose,
      keys: publicKeys.map((publicKey) => ({ keyId: keyIdOf(publicKey), purpose, publicKey })),
    });
    const envelope = signEnvelope("keyset", toBinary(KeySetSchema, set), keys);
    const requestId = terminal.randomUuid();
    const answer = await hub.call(() => client.setKeySet({ envelope, requestId }));
    await print(terminal, [answer.keySet ?? set], options.output ?? "table");
  });
}

export async function listKeys(terminal: Terminal, options: HubOptions): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const { keySets } = await hub.call(() => hub.client(HubService).listKeySets({}));
    if (keySets.length === 0) terminal.err("no key sets\n");
    else await print(terminal, keySets, options.output ?? "table");
  });
}

async function print(terminal: Terminal, sets: readonly KeySet[], form: OutputForm): Promise<void> {
  const views = sets.map((set) => toJson(KeySetSchema, set) as JsonObject);
  const purposeOf = ({ purpose }: KeySet) => enumWord(KeyPurpose[purpose] ?? "", "").toLowerCase();
  if (form === "json") terminal.out(jsonText({ keySets: views }));
  else if (form === "yaml") terminal.out(await yamlText({ keySets: views }));
  else if (form === "name") {
    terminal.out(sets.map((set) => `keyset/${purposeOf(set)}-${set.version}\n`).join(""));
  } else {
    const rows = sets.map((set) => {
      return [purposeOf(set), String(set.version), set.keys.map(({ keyId }) => keyId).join(", ")];
    });
    terminal.out(tableText(terminal, ["PURPOSE", "VERSION", "KEYS"], rows));
  }
}
