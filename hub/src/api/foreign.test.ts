/**
 * What belongs to one tenant, asked for by the owner of another and by another vendor: by name, by id and through
 * every RPC that can name it. The answer is the one for what does not exist, to the byte, and nothing changes.
 */
import { randomUUID } from "node:crypto";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { joinCell, offerProduct } from "../testing-product.ts";
import { API_SERVICES } from "./routes.ts";

const hub = useTestHub();

type Json = Readonly<Record<string, unknown>>;
type Stored = Readonly<{ metadata: Readonly<{ name: string; id: string }>; spec: Json }>;

/** Kinds of which the tenant acme has one. */
const KINDS = ["agent", "cell", "instance", "member", "seat", "subscription"] as const;
type Kind = (typeof KINDS)[number];
const serviceOf = (kind: string) =>
  `holdfast.api.v1.${kind.charAt(0).toUpperCase()}${kind.slice(1)}Service`;
const verbOf = (verb: string, kind: string) => `${verb}${serviceOf(kind).slice(16, -7)}`;

async function ask(
  path: string,
  token: string,
  body: Json,
): Promise<{ ok: boolean; text: string }> {
  const answer = await fetch(`http://${hub().address}/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  return { ok: answer.ok, text: await answer.text() };
}

async function asOwner(path: string, body: Json): Promise<Json> {
  const { ok, text } = await ask(`holdfast.api.v1.${path}`, hub().tokens.owner, body);
  if (!ok) throw new Error(`${path}: ${text}`);
  return JSON.parse(text);
}

const theirs = new Map<string, Stored>();

/** Everything of acme that the vendor's owner sees. */
async function allOfAcme(): Promise<string> {
  const lists = KINDS.map(async (kind) => {
    const path = `${serviceOf(kind)}/${verbOf("List", kind)}s`;
    return (await ask(path, hub().tokens.owner, { tenant: "acme", pageSize: 100 })).text;
  });
  const { text } = await ask(`${serviceOf("tenant")}/GetTenant`, hub().tokens.owner, {
    tenant: "acme",
  });
  return [...(await Promise.all(lists)), text].join("\n");
}

beforeAll(async () => {
  await offerProduct(hub());
  await joinCell(hub(), "acme-cell");
  const metadata = { name: "pro", tenant: "acme" };
  await asOwner("SubscriptionService/CreateSubscription", {
    subscription: { metadata, spec: { plan: "pro" } },
  });
  const spec = { product: "etl", release: "1.0.0", plan: "pro", subscription: "pro" };
  const place = { cell: "acme-cell", parameters: { source: "file.db" } };
  await asOwner("InstanceService/CreateInstance", {
    instance: { metadata: { name: "secretive", tenant: "acme" }, spec: { ...spec, ...place } },
  });
  for (const kind of KINDS) {
    const listed = await asOwner(`${serviceOf(kind).slice(16)}/${verbOf("List", kind)}s`, {
      tenant: "acme",
    });
    const [first] = listed[`${kind}s`] as Stored[];
    if (first === undefined) throw new Error(`acme has no ${kind}`);
    theirs.set(kind, first);
  }
});

const unlike = (id: string) =>
  `${id.slice(0, -12)}${randomUUID().replaceAll("-", "").slice(0, 12)}`;

/** Pairs of requests: one names what acme has, the other what nobody has; `names` are what tells them apart. */
type Pair = Readonly<{ theirs: Json; absent: Json; names: readonly (readonly [string, string])[] }>;

function byField(kind: Kind, isOwned: boolean): readonly Pair[] {
  const { name, id } = theirs.get(kind)?.metadata ?? { name: "", id: "" };
  const noId = unlike(id);
  const bare: Pair[] = [
    { theirs: { [kind]: name }, absent: { [kind]: "nobodys" }, names: [[name, "nobodys"]] },
    { theirs: { [kind]: id }, absent: { [kind]: noId }, names: [[id, noId]] },
  ];
  if (!isOwned) return bare;
  const names = [["acme", "nobody"]] as const;
  const under = (value: string): Pair => ({
    theirs: { [kind]: value, tenant: "acme" },
    absent: { [kind]: value, tenant: "nobody" },
    names,
  });
  return [...bare, under(name), under(id)];
}

function byMessage(kind: Kind): readonly Pair[] {
  const { metadata, spec } = theirs.get(kind) ?? { metadata: { name: "" }, spec: {} };
  const { name } = metadata;
  const under = (tenant: string) => ({ [kind]: { metadata: { name, tenant }, spec } });
  return [{ theirs: under("acme"), absent: under("nobody"), names: [["acme", "nobody"]] }];
}

function pairsOf(method: DescMethod): readonly Pair[] {
  const fields = method.input.fields;
  const isOwned = fields.some(({ name }) => name === "tenant");
  const kinds = KINDS.filter((kind) => fields.some(({ name }) => name === kind));
  const pairs = kinds.flatMap((kind) => {
    const isMessage = fields.find(({ name }) => name === kind)?.message !== undefined;
    return isMessage ? byMessage(kind) : byField(kind, isOwned);
  });
  if (pairs.length > 0) return pairs;
  const names = [["acme", "nobody"]] as const;
  return [{ theirs: { tenant: "acme" }, absent: { tenant: "nobody" }, names }];
}

/** The answer without what differs between any two calls; details in binary say the same again. */
function told(text: string, names: Pair["names"]): string {
  let said = text.replace(/"request_id":"[^"]*"/g, "").replace(/,"value":"[^"]*"/g, "");
  for (const [real, absent] of names) said = said.replaceAll(real, absent);
  return said;
}

const METHODS = API_SERVICES.flatMap((service: DescService) => service.methods)
  .filter(({ methodKind }) => methodKind === "unary")
  .filter(({ input }) =>
    input.fields.some(({ name }) => name === "tenant" || KINDS.some((kind) => kind === name)),
  )
  .flatMap((method) =>
    (["globexOwner", "strangerOwner"] as const).map((who) => ({
      it: `${method.parent.typeName}/${method.name}`,
      method,
      who,
    })),
  );

describe("what acme has", () => {
  it.each(METHODS)("is to $who through $it as if it did not exist", async ({ method, who }) => {
    const path = `${method.parent.typeName}/${method.name}`;
    const token = hub().tokens[who];
    const before = await allOfAcme();
    const pairs = pairsOf(method);
    expect(pairs.length).toBeGreaterThan(0);
    for (const pair of pairs) {
      const found = await ask(path, token, pair.theirs);
      const absent = await ask(path, token, pair.absent);
      // Otherwise the request itself might be wrong, and both answers alike for that.
      if (method.name.startsWith("Get")) {
        expect(await ask(path, hub().tokens.acmeOwner, pair.theirs)).toMatchObject({ ok: true });
      }
      expect(found.ok).toBe(false);
      expect(told(found.text, pair.names)).toBe(told(absent.text, pair.names));
    }
    expect(await allOfAcme()).toBe(before);
  });
});
