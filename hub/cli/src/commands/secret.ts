/**
 * `holdfast secret set|list`: seals values on this machine, to the agent that will use them. The hub gets sealed
 * bytes only, and nothing here prints a value.
 */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { create, type JsonObject, toJson } from "@bufbuild/protobuf";
import { HubService } from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import {
  ListSecretsResponseSchema,
  type PrepareSecretResponse,
  SecretSchema,
  SecretService,
} from "@holdfast/proto/holdfast/api/v1/secret_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import {
  identityFingerprint,
  openSealingKey,
  SECRET_BYTES_MAX,
  sealSecret,
} from "@holdfast/shared/sealing.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import type { HubClient } from "../hub-client.ts";
import { kindOf } from "../kinds.ts";
import { trustAgent } from "../known-agents.ts";
import { ObjectCalls } from "../object-calls.ts";
import { jsonText, yamlText } from "../output.ts";
import { SECRET_HEADER, secretRows } from "../secret-lines.ts";
import { type HubOptions, withHub } from "../session.ts";
import { tableText } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { WAIT_MS_DEFAULT, waitFor } from "../wait.ts";

export type SetSecretOptions = HubOptions &
  Readonly<{
    fromFile?: string;
    agentFingerprint?: string;
    dryRun?: "server";
    wait?: boolean;
    timeout?: number;
  }>;

/** With the line break that ends it. */
const INPUT_BYTES_MAX = SECRET_BYTES_MAX + 2;

export async function setSecret(
  terminal: Terminal,
  instance: string,
  name: string,
  options: SetSecretOptions,
): Promise<void> {
  const value = await readValue(terminal, options.fromFile);
  await withHub(terminal, options, async (hub) => {
    const client = hub.client(SecretService);
    const tenant = hub.context.tenant ?? "";
    const place = await hub.call(() => client.prepareSecret({ instance, tenant, name }));
    const recipient = await recipientOf(terminal, hub, place, options);
    const { instanceId, nextVersion: version, agent, agentId } = place;
    const sealed = await sealSecret({ instanceId, name, version }, value, recipient);
    const validateOnly = options.dryRun === "server";
    const requestId = terminal.randomUuid();
    const answer = await hub.call(() =>
      client.setSecret({
        instance: instanceId,
        ...{ tenant, name, version, agentId, sealed, validateOnly, requestId },
      }),
    );
    const secret = toJson(SecretSchema, answer.secret ?? create(SecretSchema)) as JsonObject;
    const { output = "table" } = options;
    if (output === "json") terminal.out(jsonText(secret));
    else if (output === "yaml") terminal.out(await yamlText(secret));
    else if (output === "name") terminal.out(`secret/${name}\n`);
    else {
      const isDry = validateOnly ? " (dry run)" : "";
      terminal.out(`secret/${name} version ${version} sealed to ${agent}${isDry}\n`);
    }
    if (options.wait !== true || validateOnly) return;
    const calls = await ObjectCalls.of(kindOf("instance"), hub);
    const timeoutMs = options.timeout ?? WAIT_MS_DEFAULT;
    const target = { name: instance, tenant: hub.context.tenant, timeoutMs };
    await waitFor(terminal, calls, target, "progress");
    terminal.err(`instance/${instance}: serves\n`);
  });
}

export async function listSecrets(
  terminal: Terminal,
  instance: string,
  options: HubOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const tenant = hub.context.tenant ?? "";
    const client = hub.client(SecretService);
    const answer = await hub.call(() => client.listSecrets({ instance, tenant }));
    const { secrets } = answer;
    const { output = "table" } = options;
    const view = toJson(ListSecretsResponseSchema, answer) as JsonObject;
    if (output === "json") terminal.out(jsonText(view));
    else if (output === "yaml") terminal.out(await yamlText(view));
    else if (output === "name") terminal.out(secrets.map((e) => `secret/${e.name}\n`).join(""));
    else if (secrets.length === 0) terminal.err("its release declares no secrets\n");
    else {
      const rows = secretRows(secrets, terminal.clock.now());
      terminal.out(tableText(terminal, SECRET_HEADER, rows));
    }
  });
}

/** What to seal to, once the agent's identity has signed it and that identity is one that is trusted here. */
async function recipientOf(
  terminal: Terminal,
  hub: HubClient,
  { cell, cellId, agent, agentId, identityKey, sealingKey }: PrepareSecretResponse,
  { agentFingerprint }: SetSecretOptions,
): Promise<string> {
  const { vendorId } = await hub.call(() => hub.client(HubService).getHub({}));
  const recipient = openSealingKey(sealingKey, identityKey, { vendorId, cellId, agentId });
  const fingerprint = identityFingerprint(identityKey);
  await trustAgent(terminal, { cellId, cell, agent, fingerprint }, agentFingerprint);
  return recipient;
}

/** Text without the line break that editors and `echo` end it with; the agent's own files are read the same way. */
async function readValue(terminal: Terminal, file: string | undefined): Promise<Uint8Array> {
  const isStdin = file === undefined || file === "-";
  if (isStdin && terminal.isInteractive) {
    throw new Fault(
      "INVALID_ARGUMENT",
      "USAGE",
      "the value comes on standard input or from a file; a terminal would show it",
    );
  }
  const text = isStdin
    ? await terminal.readStdin(INPUT_BYTES_MAX)
    : await readFileText(resolve(terminal.workingDirectory, file), terminal);
  // What is no UTF-8 was decoded to this.
  if (text.includes("\ufffd")) {
    const message = "the value: it is not UTF-8 text; encode it, for instance as base64";
    throw new Fault("INVALID_ARGUMENT", "SECRET_NOT_TEXT", message);
  }
  return new TextEncoder().encode(text.replace(/\r?\n$/, ""));
}

/** Reads no more than may be there, whatever the file is. */
async function readFileText(path: string, terminal: Terminal): Promise<string> {
  const buffer = Buffer.alloc(INPUT_BYTES_MAX + 1);
  let length = 0;
  try {
    const file = await open(path);
    try {
      const stats = await file.stat();
      if (stats.isFile() && (stats.mode & 0o077) !== 0) {
        terminal.err(`warning: ${path} can be read by other users; run chmod 600 ${path}\n`);
      }
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable("value file", path, error);
  }
  if (length <= INPUT_BYTES_MAX) return buffer.toString("utf8", 0, length);
  const message = `value file ${path}: more than ${SECRET_BYTES_MAX} bytes`;
  throw new Fault("INVALID_ARGUMENT", "SECRET_TOO_LARGE", message);
}
