/** One-off orders and rehearsals on a real database, from the call to the agent's answer, behind the wall. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import {
  type Action,
  ActionService,
  ActionStatus,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  ActionKind,
  ActionResultSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AgentPrincipal, AgentSession, LinkHub } from "../link/port.ts";
import { silentLog } from "../store/testing.ts";
import { ANSWER_MS_MAX, expirePass } from "../tasks/expire-actions.ts";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct } from "../testing-product.ts";
import { OPEN_ACTIONS_MAX } from "./actions.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
const DAY_MS = 86_400_000;
let agent: AgentPrincipal;
let stranger: AgentPrincipal;

const actions = (token = hub().tokens.owner) => hub().client(ActionService, token);
const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);

/** As the link sees it, with a clock that is ahead by so much. */
function link(aheadMs = 0): LinkHub {
  const { app } = hub().parts;
  const { clock } = app;
  const ahead = { ...app, clock: { ...clock, now: () => clock.now() + aheadMs } };
  return linkHub(ahead);
}

function hello(principal: AgentPrincipal): Promise<AgentSession> {
  const said = create(HelloSchema, { fencing: principal.fencing, agentVersion: "test" });
  return link().admit(principal, said);
}

async function give(session: AgentSession, aheadMs = 0): Promise<readonly string[]> {
  return (await link(aheadMs).actionsDue(session, 256)).map(({ id }) => id);
}

function answer(session: AgentSession, id: string, state: ActionState, message = "") {
  const result = create(ActionResultSchema, { id, state, reason: ActionState[state], message });
  return link().actionEnded(session, result);
}

async function ask(instance = "orders", change: object = {}): Promise<Action> {
  const { action } = await actions().createAction({
    ...{ instance, kind: ActionKind.RESTART },
    ...change,
  });
  if (action === undefined) throw new Error("no action in the answer");
  return action;
}

async function found(id: string): Promise<string> {
  const { action } = await actions().getAction({ action: id });
  return `${ActionStatus[action?.status ?? 0]} ${action?.reason}: ${action?.message}`;
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) {
      return `${Code[error.code]} ${error.findDetails(ErrorInfoSchema)[0]?.reason}: ${error.rawMessage}`;
    }
    const { code, reason, message } = error as { code: string; reason: string; message: string };
    return `${code} ${reason}: ${message}`;
  }
  return "OK";
}

const spec = {
  ...{ product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" },
  ...{ cell: "acme-cell", parameters: { source: "file.db" } },
};

beforeAll(async () => {
  await offerProduct(hub());
  const subscriptions = hub().client(SubscriptionService, hub().tokens.owner);
  await subscriptions.createSubscription({
    subscription: { metadata: { name: "pro", tenant: "acme" }, spec: { plan: "pro" } },
  });
  for (const name of ["orders", "others"]) {
    const metadata = { name, tenant: "acme" };
    await instances().createInstance({ instance: { metadata, spec } });
  }
  agent = (await joinCell(hub(), "acme-cell")).principal;
  stranger = (await joinCell(hub(), "globex-cell")).principal;
});

/** Nothing stays open from one test to the next. */
afterEach(async () => {
  const session = await hello(agent);
  for (const id of await give(session)) await answer(session, id, ActionState.DONE);
});

describe("an action", () => {
  it("waits for the agent, is given to it, and ends with its answer", async () => {
    const made = await ask("orders", { resource: "worker", ttl: durationFromMs(60_000) });
    expect(made).toMatchObject({ instance: "orders", tenant: "acme", principal: "member/owner" });
    expect(await found(made.id)).toBe("PENDING : ");
    const session = await hello(agent);
    const [order] = await link().actionsDue(session, 256);
    expect(order).toMatchObject({ id: made.id, kind: ActionKind.RESTART, resource: "worker" });
    expect(order?.notAfter).toEqual(made.notAfter);
    expect(
      made.notAfter && made.createTime && timestampMs(made.notAfter) - timestampMs(made.createTime),
    ).toBe(60_000);
    expect(await found(made.id)).toBe("SENT : ");
    await answer(session, made.id, ActionState.DONE, "worker: another copy serves");
    expect(await found(made.id)).toBe("DONE DONE: worker: another copy serves");
    expect(await give(session)).toEqual([]);
  });

  it("stands in the events of its instance, with who asked and who did it", async () => {
    const made = await ask("others");
    const session = await hello(agent);
    await give(session);
    await answer(session, made.id, ActionState.FAILED, "no");
    const events = hub().client(EventService, hub().tokens.owner);
    const read = async () => {
      const page = await events.listEvents({ subject: "instance/others", pageSize: 500 });
      return page.events
        .filter(({ after }) => after?.["action"] === made.id)
        .map(({ type, principal, permission, reason }) => [type, principal, permission, reason]);
    };
    await expect.poll(read).toEqual([
      ["instance.action_created", "member/owner", "action.create", ""],
      ["instance.action_failed", expect.stringMatching(/^agent\/./), "", "FAILED"],
    ]);
  });

  it("is given again at each hello until it is answered, and its first answer counts", async () => {
    const { id } = await ask();
    const first = await hello(agent);
    expect(await give(first)).toEqual([id]);
    const second = await hello(agent);
    expect(await give(second)).toEqual([id]);
    expect(await reasonOf(give(first))).toMatch(/^ABORTED SESSION_OLD/);
    await answer(second, id, ActionState.DONE, "first");
    await answer(second, id, ActionState.FAILED, "second");
    expect(await found(id)).toBe("DONE DONE: first");
  });

  it("that a rule holds says so and is still to come", async () => {
    const { id } = await ask();
    const session = await hello(agent);
    await give(session);
    await answer(session, id, ActionState.HELD, "hours: only at night");
    expect(await found(id)).toBe("SENT HELD: hours: only at night");
    await answer(session, id, ActionState.DONE);
    expect(await found(id)).toBe("DONE DONE: ");
  });

  it("is not given to a fenced agent, nor to another one than the first that had it", async () => {
    const { id } = await ask();
    const session = await hello(agent);
    expect(await link().actionsDue({ ...session, active: false }, 256)).toEqual([]);
    expect(await give(session)).toEqual([id]);
    const { principal } = await joinCell(hub(), "acme-cell");
    const next = await hello(principal);
    const waiting = await ask("others");
    expect(await give(next)).toEqual([waiting.id]);
    expect(await found(id)).toMatch(/^FAILED AGENT_REPLACED: .* is not known$/);
    await answer(next, waiting.id, ActionState.DONE);
    agent = principal;
  });

  it("ends unasked for nobody: another cell's agent answers nothing", async () => {
    const { id } = await ask();
    await give(await hello(agent));
    const other = await hello(stranger);
    expect(await give(other)).toEqual([]);
    expect(await reasonOf(answer(other, id, ActionState.DONE))).toMatch(/^NOT_FOUND UNASKED/);
    expect(await found(id)).toBe("SENT : ");
  });

  it("is made once for a request id, and not at all to validate", async () => {
    const requestId = "01980000-0000-7000-8000-000000000001";
    const first = await ask("orders", { requestId });
    expect(await ask("orders", { requestId })).toEqual(first);
    const checked = await ask("orders", { validateOnly: true });
    expect(await reasonOf(actions().getAction({ action: checked.id }))).toMatch(/^NotFound/);
  });
});

describe("the time of an action", () => {
  const expire = (aheadMs: number) => {
    const { database, clock } = hub().parts.app;
    const ahead = { ...clock, now: () => clock.now() + aheadMs };
    return expirePass({ database, clock: ahead, log: silentLog });
  };

  it("is over when no agent came in it", async () => {
    const { id } = await ask("orders", { ttl: durationFromMs(60_000) });
    await expire(59_000);
    expect(await found(id)).toBe("PENDING : ");
    await expire(61_000);
    expect(await found(id)).toBe("EXPIRED EXPIRED: the agent was not connected in its time");
    expect(await give(await hello(agent))).toEqual([]);
  });

  it("is looked at before it is given", async () => {
    const { id } = await ask("orders", { ttl: durationFromMs(60_000) });
    expect(await give(await hello(agent), 61_000)).toEqual([]);
    expect(await found(id)).toMatch(/^EXPIRED/);
  });

  it("is the agent's matter once it was given; the hub waits long for an answer", async () => {
    const { id } = await ask("orders", { ttl: durationFromMs(60_000) });
    const session = await hello(agent);
    await give(session);
    await expire(30 * DAY_MS);
    expect(await found(id)).toBe("SENT : ");
    expect(await give(session, 30 * DAY_MS)).toEqual([id]);
    await expire(ANSWER_MS_MAX + DAY_MS);
    expect(await found(id)).toMatch(/^FAILED NO_ANSWER: .* is not known$/);
  });

  it.each([999, 7 * DAY_MS + 1, -1])("cannot be %i ms", async (ms) => {
    const refusal = await reasonOf(ask("orders", { ttl: durationFromMs(ms) }));
    expect(refusal).toBe(
      `InvalidArgument TTL_OUT_OF_RANGE: ttl: got ${ms} ms; allowed: 1 s to 7 days`,
    );
  });
});

describe("whoever asks for an action", () => {
  it("needs an instance that is there and may have no more than so many open", async () => {
    expect(await reasonOf(ask("absent"))).toMatch(/^NotFound NOT_FOUND: instance absent/);
    const job = await reasonOf(ask("orders", { kind: ActionKind.RUN_JOB }));
    expect(job).toMatch(/^InvalidArgument JOB_UNNAMED: resource: got nothing/);
    for (let n = 0; n < OPEN_ACTIONS_MAX; n++) await ask();
    expect(await reasonOf(ask())).toMatch(/^ResourceExhausted ACTIONS_TOO_MANY: .* 20 actions are/);
  });

  it("sees its own tenant's alone, newest first, page by page", async () => {
    const { acmeOwner, acmeViewer, globexOwner, strangerOwner } = hub().tokens;
    const { action } = await actions(acmeOwner).createAction({
      ...{ instance: "orders", kind: ActionKind.RETRY },
    });
    expect(action).toMatchObject({ principal: "member/acme/owner", tenant: "acme" });
    const own = await actions(acmeViewer).listActions({ instance: "orders", pageSize: 2 });
    expect(own.actions[0]?.id).toBe(action?.id);
    const ids = [...own.actions];
    for (let token = own.nextPageToken; token !== ""; ) {
      const query = { instance: "orders", pageSize: 2, pageToken: token };
      const page = await actions(acmeViewer).listActions(query);
      ids.push(...page.actions);
      token = page.nextPageToken;
    }
    const all = await actions().listActions({ instance: "orders", pageSize: 500 });
    expect(ids.map(({ id }) => id)).toEqual(all.actions.map(({ id }) => id));
    for (const token of [globexOwner, strangerOwner]) {
      expect((await actions(token).listActions({})).actions).toEqual([]);
      const get = (id = "") => reasonOf(actions(token).getAction({ action: id }));
      const absent = idOf("action", "01980000-0000-7000-8000-00000000dead");
      expect(await get(action?.id)).toBe((await get(absent)).replace(absent, action?.id ?? ""));
      const asked = { instance: "orders", kind: ActionKind.RESTART };
      expect(await reasonOf(actions(token).createAction(asked))).toMatch(/^NotFound/);
    }
    const asked = { instance: "orders", kind: ActionKind.RESTART };
    const refusal = await reasonOf(actions(acmeViewer).createAction(asked));
    expect(refusal).toMatch(/^PermissionDenied PERMISSION_MISSING: action.create/);
  });
});
