/** Tokens that the hub shows once: for an agent to join a cell, and for a member to sign in. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { HubClient } from "../hub-client.ts";
import { writeNew } from "../key-file.ts";
import { jsonText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type TokenOptions = HubOptions &
  Readonly<{ ttl?: number; out?: string; description?: string }>;

export async function joinToken(
  terminal: Terminal,
  cell: string,
  options: TokenOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const answer = await hub.call(() =>
      hub.client(CellService).createJoinToken(cellRequest(terminal, hub, cell, options)),
    );
    await hand(terminal, answer.joinToken, answer.expireTime?.seconds, options);
    const from = options.out ?? "-";
    terminal.err(`next: holdfast-agent enroll --state DIR --token-file ${from}\n`);
  });
}

/** Nothing changes until an agent joins with it. */
export async function takeoverToken(
  terminal: Terminal,
  cell: string,
  options: TokenOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const answer = await hub.call(() =>
      hub.client(CellService).createTakeoverToken(cellRequest(terminal, hub, cell, options)),
    );
    await hand(terminal, answer.joinToken, answer.expireTime?.seconds, options);
    const from = options.out ?? "-";
    const enroll = `holdfast-agent enroll --state DIR --takeover --token-file ${from}`;
    terminal.err(`${answer.replaces} is fenced the moment an agent joins with it\n`);
    terminal.err(`next: ${enroll}\nthen: holdfast get agents\n`);
  });
}

export async function memberToken(
  terminal: Terminal,
  member: string,
  options: TokenOptions,
): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const answer = await hub.call(() =>
      hub.client(MemberService).createToken({
        member,
        tenant: hub.context.tenant ?? "",
        description: options.description ?? "",
        ...ttlOf(options),
      }),
    );
    await hand(terminal, answer.token, answer.expireTime?.seconds, options);
  });
}

/** What both kinds of token for a cell are asked for with. */
function cellRequest(
  terminal: Terminal,
  { context }: Pick<HubClient, "context">,
  cell: string,
  options: TokenOptions,
) {
  const tenant = context.tenant ?? "";
  return { cell, tenant, requestId: terminal.randomUuid(), ...ttlOf(options) };
}

function ttlOf({ ttl }: TokenOptions) {
  return ttl === undefined ? {} : { ttl: durationFromMs(ttl) };
}

/** To a file that only its owner can read, or to standard output. It cannot be shown again. */
async function hand(
  terminal: Terminal,
  token: string,
  expireSeconds: bigint | undefined,
  { out, output }: TokenOptions,
): Promise<void> {
  if (token === "") throw new Fault("INTERNAL", "TOKEN_MISSING", "the hub gave no token");
  const expires =
    expireSeconds === undefined ? "" : new Date(Number(expireSeconds) * 1_000).toISOString();
  if (out !== undefined) await writeNew(out, `${token}\n`, terminal);
  else if (output === "json") terminal.out(jsonText({ token, expireTime: expires }));
  else terminal.out(`${token}\n`);
  const where = out === undefined ? "" : ` in ${out}`;
  terminal.err(
    `the token${where} is shown once${expires === "" ? "" : `; it holds until ${expires}`}\n`,
  );
}
