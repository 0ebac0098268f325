/** Every RPC of the contracts against every sort of caller: a method that is added is tested without a line here. */
import { create, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import { describe, expect, it } from "vitest";
import { roleHas } from "../app/caller.ts";
import { type TestHub, type Tokens, useTestHub } from "../testing-hub.ts";
import { methodRule } from "./methods.ts";
import { API_SERVICES } from "./routes.ts";

const hub = useTestHub();

const METHODS = API_SERVICES.flatMap((service: DescService) =>
  service.methods.map((method) => ({ it: `${service.typeName}/${method.name}`, method })),
);

/** Calls with an empty request: whoever passes the gate is told what is wrong with it, others are not. */
async function outcome(
  to: TestHub,
  method: DescMethod,
  token: string,
): Promise<ConnectError | "OK"> {
  const client = to.client(method.parent, token) as Record<string, (request: unknown) => unknown>;
  const call = client[method.localName]?.bind(client);
  try {
    const answer = call?.(create(method.input));
    if (method.methodKind === "server_streaming") {
      for await (const _ of answer as AsyncIterable<unknown>) break;
    } else await answer;
    return "OK";
  } catch (error) {
    return ConnectError.from(error);
  }
}

/** The gate's own refusal, not one of the use case. */
function isRefused(answer: ConnectError | "OK"): boolean {
  if (answer === "OK") return false;
  const reason = answer.findDetails(ErrorInfoSchema)[0]?.reason;
  return answer.code === Code.PermissionDenied && reason === "PERMISSION_MISSING";
}

describe("every RPC", () => {
  it.each(METHODS)("$it refuses a caller without a token", async ({ method }) => {
    const answer = await outcome(hub(), method, "");
    expect(answer).toMatchObject({ code: Code.Unauthenticated });
  });

  const callers: readonly { who: keyof Tokens; role: "owner" | "viewer"; isStaff: boolean }[] = [
    { who: "owner", role: "owner", isStaff: true },
    { who: "viewer", role: "viewer", isStaff: true },
    { who: "acmeOwner", role: "owner", isStaff: false },
    { who: "acmeViewer", role: "viewer", isStaff: false },
    { who: "strangerOwner", role: "owner", isStaff: true },
  ];
  const cases = METHODS.flatMap(({ it: name, method }) =>
    callers.map((caller) => {
      const { permission, scope } = methodRule(method);
      const inScope = scope !== "vendor" || caller.isStaff;
      const may = scope === "self" || (inScope && roleHas(caller.role, permission));
      return { it: `${name} ${may ? "lets in" : "refuses"} ${caller.who}`, method, may, ...caller };
    }),
  );
  it.each(cases)("$it", async ({ method, who, may }) => {
    const answer = await outcome(hub(), method, hub().tokens[who]);
    expect(isRefused(answer)).toBe(!may);
    if (answer !== "OK") expect(answer.code).not.toBe(Code.Internal);
    if (answer !== "OK") expect(answer.code).not.toBe(Code.Unauthenticated);
  });
});

/** Fields of requests that name one object. */
const OBJECTS: Readonly<Record<string, string>> = {
  tenant: "acme",
  cell: "acme-cell",
  member: "auditor",
};

describe("an object of somebody else", () => {
  const naming = METHODS.filter(({ method }) =>
    method.input.fields.some(({ name }) => name in OBJECTS && /^(Get|Delete)/.test(method.name)),
  ).flatMap(({ it: name, method }) => {
    const field = method.input.fields.find(({ name: each }) => each in OBJECTS)?.name ?? "";
    return (["globexOwner", "strangerOwner"] as const).map((who) => ({
      it: `${name} hides ${field} ${OBJECTS[field]} from ${who}`,
      method,
      field,
      who,
    }));
  });

  it.each(naming)("$it as if it did not exist", async ({ method, field, who }) => {
    const token = hub().tokens[who];
    const ask = async (name: string) => {
      const client = hub().client(method.parent, token) as Record<string, (r: unknown) => unknown>;
      try {
        await client[method.localName]?.(create(method.input, { [field]: name } as never));
        return "OK";
      } catch (error) {
        const { code, rawMessage } = ConnectError.from(error);
        return `${Code[code]} ${rawMessage}`;
      }
    };
    const theirs = OBJECTS[field] ?? "";
    const absent = (await ask("absent")).replace("absent", theirs);
    expect(await ask(theirs)).toBe(absent);
  });
});
