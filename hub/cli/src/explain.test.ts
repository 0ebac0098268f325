/** What `explain` says of fields and reasons, without any hub. */
import { describe, expect, it } from "vitest";
import { KINDS } from "./kinds.ts";
import { TestTerminal } from "./terminal.fixture.ts";

const explain = (...args: string[]) => new TestTerminal().run("explain", ...args);

describe("explain KIND.FIELD", () => {
  it("gives type, comment and rules of the contract", async () => {
    expect((await explain("instance.spec.parameters")).out).toBe(
      "instance.spec.parameters   map of any values\n" +
        "  Over the plan's values; checked by the release's schema.\n",
    );
    expect((await explain("ins.metadata.name")).out).toContain(
      "rules: not empty; at most 63 characters; matches ",
    );
    expect((await explain("instance.spec.run_state")).out).toMatch(/running \| stopped\n/);
    const { out } = await explain("instance.spec");
    expect(out).toMatch(
      /^cell +text +at most 100 characters; never changes +Empty: the hub picks one/m,
    );
    expect(out).toMatch(/^product +text +not empty/m);
  });

  it.each(KINDS.map(({ name }) => name))("knows %s, its metadata and its spec", async (kind) => {
    const { fields } = JSON.parse((await explain(kind, "-o", "json")).out);
    const names = fields.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(["metadata", "spec"]));
    expect((await explain(`${kind}.spec`)).code).toBe(0);
  });

  it.each([
    ["plan.spec.alotments", "did you mean allotments?", "holdfast explain plan.spec"],
    ["plan.spec.product.x", "plan.spec.product is text and has no fields", "holdfast explain plan"],
    ["instnce", "did you mean instance?", "holdfast get --help"],
  ])("refuses %s with what there is", async (path, says, next) => {
    const { code, err } = await explain(path);
    expect(code).toBe(2);
    expect(err).toContain(says);
    expect(err).toContain(`next: ${next}`);
  });
});

describe("explain error", () => {
  it("tells cause and next step, and lists all reasons", async () => {
    expect((await explain("error", "etag_mismatch")).out).toMatch(
      /^ETAG_MISMATCH\n {2}Somebody else changed .*\nnext: holdfast get /,
    );
    expect((await explain("error", "-o", "name")).out).toContain("\nHUB_UNREACHABLE\n");
    const wrong = await explain("error", "ETAG_MISMTCH");
    expect([wrong.code, wrong.err]).toEqual([3, expect.stringContaining("ETAG_MISMATCH?")]);
  });
});
