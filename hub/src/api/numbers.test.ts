/** Numbers in JSON requests: decimal ones are taken as they are, and nothing is quietly made another number. */
import { describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";

const hub = useTestHub();

describe("numbers", () => {
  const call = async (method: string, body: string) => {
    const answer = await fetch(`http://${hub().address}/holdfast.api.v1.${method}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${hub().tokens.owner}`,
      },
      body,
    });
    const said = (await answer.json()) as { code?: string; message?: string };
    return { status: answer.status, code: said.code, message: said.message ?? "" };
  };
  const sized = (given: string) => call("TenantService/ListTenants", `{"pageSize":${given}}`);

  it.each(["0x10", "010", "1e999", "1.5", "2147483648", "-2147483649", "true", "[1]", "-5"])(
    "are refused as %s",
    async (given) => {
      expect(await sized(given)).toMatchObject({ status: 400, code: "invalid_argument" });
    },
  );

  it.each([
    "0x10",
    "010",
    "1e3",
    "1_000",
    "1e999",
    "NaN",
    "Infinity",
    "+16",
    "-0",
    "16.0",
    " 1",
    "",
  ])("are refused as the text %j, by field, value and rule", async (given) => {
    const { status, message } = await sized(JSON.stringify(given));
    expect(status).toBe(400);
    expect(message).toBe(`page_size: got "${given}"; allowed: a decimal integer such as 16`);
  });

  it("are taken as a number and as decimal text", async () => {
    for (const given of ["16", '"16"', "0", '"0"', "1e1"]) {
      expect(await sized(given)).toMatchObject({ status: 200 });
    }
  });

  it("of 64 bits are exact or refused, also deep in a document", async () => {
    const plan = (amount: string) =>
      call(
        "CellService/UpdateCell",
        `{"cell":{"metadata":{"name":"acme-cell"},"spec":{"capacity":{"resources":{"cpu":${amount}}}}},"validateOnly":true}`,
      );
    const at = 'cell.spec.capacity.resources["cpu"]: got';
    for (const given of ['"0x10"', '"18446744073709551616"', "9007199254740993", '"-1"', "0.5"]) {
      const { status, message } = await plan(given);
      expect([status, message]).toEqual([400, expect.stringContaining(at)]);
    }
    for (const given of ['"9007199254740993"', '"16"', "16"]) {
      expect((await plan(given)).message).not.toContain("resources");
    }
  });

  it.each(["5", "-5s", "010s", "1e3s", "5sx", "0x5s"])(
    "of a time span are refused as %s",
    async (ttl) => {
      const body = JSON.stringify({ cell: "acme-cell", ttl });
      const { status, message } = await call("CellService/CreateJoinToken", body);
      expect([status, message]).toEqual([400, expect.stringContaining("ttl")]);
    },
  );

  it("too large for a parameter are refused rather than made infinite", async () => {
    const spec = '{"parameters":{"sizes":[1,{"max":1e999}]}}';
    const body = `{"instance":{"metadata":{"name":"etl"},"spec":${spec}}}`;
    const { status, message } = await call("InstanceService/CreateInstance", body);
    const says = "instance.spec.parameters: got Infinity";
    expect([status, message]).toEqual([400, expect.stringContaining(says)]);
  });
});
