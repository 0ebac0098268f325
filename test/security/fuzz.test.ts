/**
 * Every RPC of the API under inputs made from its descriptor and a seed, over each protocol, with a good token and
 * without one: each gets a typed answer that tells nothing of the inside, and the hub is as well as before.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { MemberService } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { beforeAll, describe, expect, it } from "vitest";
import { API_SERVICES } from "../../hub/src/api/routes.ts";
import { useTestHub } from "../../hub/src/testing-hub.ts";
import { offerProduct } from "../../hub/src/testing-product.ts";
import { type Answer, http2To, send } from "./fuzz/answers.ts";
import { callOf, PROTOCOLS, type Protocol, type RawCall } from "./fuzz/calls.ts";
import { INPUTS, SEED, seeded } from "./fuzz/chance.ts";

/** Calls at once on one connection. */
const AT_ONCE = 24;
/** Of the heap, after a full collection, over all calls of one run; what is kept on purpose is far less. */
const GROWTH_BYTES_MAX = 96 * 1024 * 1024;

const hub = useTestHub();
const METHODS = API_SERVICES.flatMap((service: DescService) => service.methods).flatMap((method) =>
  PROTOCOLS.map((protocol) => ({
    it: `${method.parent.typeName}/${method.name}`,
    method,
    protocol,
  })),
);

let known: readonly string[];
let heapBefore = 0;

beforeAll(async () => {
  await offerProduct(hub());
  const cells = await hub().client(CellService, hub().tokens.owner).listCells({});
  const ids = cells.cells.map(({ metadata }) => metadata?.id ?? "");
  const names =
    "acme globex acme-cell globex-cell hosted etl 1.0.0 1.1.0 pro free worker dsn".split(" ");
  known = [...names, ...ids, "new", "nothing"];
  heapBefore = heapBytes();
}, 60_000);

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

type Tried = Readonly<{ call: RawCall; hasToken: boolean; answer: Answer | Error }>;

async function tryAll(method: DescMethod, protocol: Protocol): Promise<readonly Tried[]> {
  const random = seeded(SEED, `${protocol} ${method.parent.typeName}/${method.name}`);
  const inputs = Array.from({ length: INPUTS }, () => {
    const hostile = random() < 0.5 ? 0.1 : 0.5;
    return { call: callOf(method, protocol, { random, known, hostile }), hasToken: random() < 0.9 };
  });
  const session = await http2To(hub().address);
  const tried: Tried[] = [];
  const work = inputs.values();
  const one = async () => {
    for (const { call, hasToken } of work) {
      const token = hasToken ? hub().tokens.owner : "";
      const answer = await send(session, call, token).catch((error: Error) => error);
      tried.push({ call, hasToken, answer });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  session.close();
  return tried;
}

const REFUSED_BY_HTTP = [404, 405, 415];
const UNTYPED = ["internal", "unknown", "data_loss"];
const ROOT = join(import.meta.dirname, "../..");
/** Of our sources, our directories, stacks, and what a database says. */
const INSIDE = [
  ROOT,
  join(tmpdir(), "hf-"),
  "node_modules",
  "    at ",
  "violates",
  "syntax error at",
];

/** What is wrong with an answer; undefined if nothing. */
function problemOf({ answer, hasToken }: Tried): string | undefined {
  if (answer instanceof Error) return answer.message;
  const { code, reason, httpStatus, said } = answer;
  const told = INSIDE.find((each) => said.includes(each));
  if (told !== undefined) return `tells ${told}: ${said}`;
  if (code === undefined) {
    return REFUSED_BY_HTTP.includes(httpStatus) ? undefined : `HTTP ${httpStatus} alone: ${said}`;
  }
  if (!hasToken) return code === "unauthenticated" ? undefined : `${code} without a token: ${said}`;
  if (UNTYPED.includes(code)) return `${code}: ${said}`;
  if (code !== "ok" && !/^[A-Z][A-Z_]+$/.test(reason ?? ""))
    return `${code} without a reason: ${said}`;
  return undefined;
}

describe(`every RPC, of ${INPUTS} inputs from seed ${SEED},`, () => {
  it.each(METHODS)("$it answers each by $protocol", async ({ method, protocol }) => {
    const tried = await tryAll(method, protocol);
    expect(tried).toHaveLength(INPUTS);
    const problems = tried.flatMap((each) => {
      const problem = problemOf(each);
      const { headers, body } = each.call;
      const input = `${JSON.stringify(headers)} ${Buffer.from(body).toString("latin1").slice(0, 300)}`;
      return problem === undefined ? [] : [`${problem.slice(0, 300)} <- ${input}`];
    });
    expect(problems).toEqual([]);
  });

  it("and is answered as before, its database without a transaction left open", async () => {
    const { client, tokens, parts } = hub();
    const me = await client(MemberService, tokens.owner).whoAmI({});
    expect(me.permissions).toContain("instance.list");
    await client(InstanceService, tokens.owner).listInstances({ pageSize: 1 });
    const ready = await fetch(`http://${hub().address}/readyz`);
    expect(await ready.text()).toBe("ready\n");
    // The hub's own tasks are in one now and then, but none stays.
    const open = async () => {
      const { rows } = await parts.app.database.pool.query(
        "select count(*)::int as open from pg_stat_activity where state like 'idle in transaction%'",
      );
      return rows;
    };
    await expect.poll(open, { timeout: 20_000 }).toEqual([{ open: 0 }]);
    expect(Object.prototype).not.toHaveProperty("admin");
  });

  it("and holds no more memory than before", () => {
    const growth = heapBytes() - heapBefore;
    expect(growth).toBeLessThan(GROWTH_BYTES_MAX);
  });
});
