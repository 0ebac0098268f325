/** Settings, seats and rows as they come in: what is accepted, and what is said about the rest. */
import { describe, expect, it } from "vitest";
import { BadRow, decodeSourceRows } from "./decode.ts";
import { parseSeats } from "./seats.ts";
import { loadSettings } from "./settings.ts";

const env = { HOLDFAST_DATA_DIR: "/data", HOLDFAST_SEATS_FILE: "/data/seats.json" };
const load = (argv: readonly string[], more = {}) =>
  loadSettings(argv, { ...env, ...more }, (path) => `postgresql://u:secret@h/${path}\n`);

describe("loadSettings", () => {
  it("puts a relative file into the data directory", () => {
    expect(load(["--source", "in.db"])).toMatchObject({
      source: "/data/in.db",
      destination: "/data/warehouse.db",
      batchRows: 500,
      httpPort: 0,
    });
  });

  it("takes a DSN with its password from a secret file", () => {
    const settings = load([], { HOLDFAST_SECRET_SOURCE_DSN_FILE: "run" });
    expect(settings.source).toBe("postgresql://u:secret@h/run");
  });

  it("tells all problems at once", () => {
    const problems = () =>
      loadSettings(["--sauce", "x"], { BATCH_ROWS: "0", POLL_MS: "soon" }, String);
    expect(problems).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(
          /^"--sauce".*\nHOLDFAST_DATA_DIR.*\nHOLDFAST_SEATS_FILE.*\n--source.*\nBATCH_ROWS.*\nPOLL_MS/,
        ),
      }),
    );
  });

  it.each(["../x.db", "/etc/x.db", "a/../../x.db"])("refuses the destination %s", (path) => {
    expect(() => load(["--source", "a", "--destination", path])).toThrow("outside");
  });

  it("refuses a password in an argument, and does not repeat it", () => {
    const given = () => load(["--source", "postgresql://u:hunter2@h/db"]);
    expect(given).toThrow("holds a password");
    expect(given).not.toThrow("hunter2");
  });
});

describe("parseSeats", () => {
  it("reads the agent's file", () => {
    const text = '{"revision":"1.4","seats":[{"seat":"sea_1","name":"acme","reserved":false}]}';
    expect(parseSeats(text)).toEqual([{ id: "sea_1", name: "acme", reserved: false }]);
  });

  it.each([
    ["", "not JSON"],
    ["null", "no list"],
    ['{"seats":[{"seat":"a\\"b","name":"x"}]}', "seats[0].seat"],
    ['{"seats":[{"seat":"s1","name":""}]}', "seats[0].name"],
    ['{"seats":[{"seat":"s1","name":"x"},{"seat":"s2","name":"x"}]}', "same name"],
  ])("refuses %s", (text, message) => {
    expect(() => parseSeats(text)).toThrow(message);
  });
});

describe("decodeSourceRows", () => {
  const good = {
    id: 1n,
    account: "acme",
    amount_cents: "5",
    currency: "EUR",
    note: "",
    created_at: "2026-01-01T00:00:00Z",
  };

  it("takes integers as either database hands them over", () => {
    expect(decodeSourceRows([good])).toMatchObject([{ id: 1, amountCents: 5 }]);
  });

  it("gives the rows before a bad one, and names the bad one when it is first", () => {
    const bad = { ...good, id: 2n, amount_cents: 2n ** 60n };
    expect(decodeSourceRows([good, bad])).toHaveLength(1);
    expect(() => decodeSourceRows([bad, good])).toThrow(
      new BadRow("row 2: amount_cents is not an integer of 53 bits"),
    );
  });
});
