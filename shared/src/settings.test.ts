/** How settings are read from a file's value and the environment, and what is refused. */
import { describe, expect, it } from "vitest";
import { durationMs } from "./duration.ts";
import { Fault } from "./fault.ts";
import { errnoMeaning, readSettings, type SettingSpecs, settings, unreadable } from "./settings.ts";

const specs = {
  data_dir: settings.required(settings.path()),
  hub_url: settings.url({ protocols: ["https:"], mayBeIpAddress: false }),
  database_url: settings.url({
    protocols: ["postgres:", "postgresql:"],
    mayHaveCredentials: true,
    mayHavePath: true,
  }),
  api_listen: settings.listen({ fallback: { host: "127.0.0.1", port: 7400 } }),
  metrics_listen: settings.listen({ isLoopbackOnly: true }),
  window_ms: settings.integer({ min: 1000, max: 3_600_000, fallback: 60_000 }),
  patience: settings.duration({ minMs: 1_000, maxMs: 3_600_000, fallback: 5_000 }),
  deny: settings.list({ itemsMax: 3 }),
  verbose: settings.boolean({ fallback: false }),
  level: settings.choice(["debug", "info"], { fallback: "info" }),
  pin: settings.text({ isSecret: true, charsMax: 4 }),
};

function read(file: unknown, env: Record<string, string> = {}, only: SettingSpecs = specs) {
  return readSettings(only as typeof specs, {
    file,
    fileName: "hub.yaml",
    fileDirectory: "/etc/holdfast",
    env,
    envPrefix: "HOLDFAST_HUB_",
    envIgnored: ["HOLDFAST_HUB_MARK"],
    workingDirectory: "/work",
  });
}

function problemsOf(file: unknown, env: Record<string, string> = {}): readonly string[] {
  try {
    read(file, env);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect([error.code, error.reason]).toEqual(["INVALID_ARGUMENT", "CONFIG_INVALID"]);
    return error.violations.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

describe("readSettings", () => {
  it("takes fallbacks where nothing is said", () => {
    expect(read({ data_dir: "/var/lib/hub" }).values).toMatchObject({
      data_dir: "/var/lib/hub",
      hub_url: undefined,
      api_listen: { host: "127.0.0.1", port: 7400 },
      window_ms: 60_000,
      deny: [],
    });
  });

  it("lets the environment win over the file", () => {
    const { values } = read({ data_dir: "a", window_ms: 2000 }, { HOLDFAST_HUB_WINDOW_MS: "3000" });
    expect(values.window_ms).toBe(3000);
  });

  it("starts relative paths at the file's directory, or at the working directory", () => {
    expect(read({ data_dir: "d" }).values.data_dir).toBe("/etc/holdfast/d");
    expect(read({}, { HOLDFAST_HUB_DATA_DIR: "d" }).values.data_dir).toBe("/work/d");
  });

  it("names every problem at once", () => {
    const found = problemsOf({ hub_ulr: "x", window_ms: "5" }, { HOLDFAST_HUB_PATIENCE: "5" });
    expect(found).toEqual([
      "hub.yaml: hub_ulr: unknown key; did you mean hub_url?",
      "hub.yaml: data_dir: required; set it here or in HOLDFAST_HUB_DATA_DIR; allowed: a path",
      "hub.yaml: window_ms: not a whole number; got 5; allowed: a whole number from 1000 to 3600000",
      "HOLDFAST_HUB_PATIENCE: a unit is required; got 5; allowed: a whole number with a unit: ms, s, m, h or d; from 1000ms to 3600000ms",
    ]);
  });

  it("refuses an unknown variable with the prefix, but not one that means something else", () => {
    const env = { HOLDFAST_HUB_DATADIR: "x", HOLDFAST_HUB_MARK: "y", OTHER: "z" };
    expect(problemsOf({ data_dir: "d" }, env)).toEqual([
      "HOLDFAST_HUB_DATADIR: unknown variable; did you mean HOLDFAST_HUB_DATA_DIR?",
    ]);
  });

  it.each([
    { value: "http://hub.example", says: "https only; got http://" },
    { value: "https://me:secret@hub.example", says: "must not hold credentials" },
    { value: "https://hub.example/path", says: "nothing may follow the host; got /path" },
    { value: "https://10.0.0.1", says: "an IP address needs a pinned certificate" },
    { value: "hub.example", says: "not a URL" },
  ])("refuses the URL $value with its own text", ({ value, says }) => {
    const [problem] = problemsOf({ data_dir: "d", hub_url: value });
    expect(problem).toContain(says);
    expect(problem).not.toContain("secret");
  });

  it("never shows a secret or a URL that may hold one", () => {
    const file = { data_dir: "d", database_url: "mysql://u:hunter2@h/db", pin: "hunter2" };
    const found = problemsOf(file);
    expect(found).toHaveLength(2);
    expect(found.join()).not.toContain("hunter2");
  });

  it.each(["5", "-1s", "1000000h", "1m1", "1.5s", "", 5])("refuses the duration %j", (value) => {
    expect(problemsOf({ data_dir: "d", patience: value })[0]).toContain("from 1000ms to 3600000ms");
  });

  it.each(["1e3", "0x10", "010", "1_000", "NaN", "-5", "1e999"])(
    "refuses the number %s from the environment",
    (value) => {
      expect(problemsOf({ data_dir: "d" }, { HOLDFAST_HUB_WINDOW_MS: value })).toHaveLength(1);
    },
  );

  it.each([
    { value: "localhost:0", host: "localhost", port: 0 },
    { value: "[::1]:7400", host: "::1", port: 7400 },
  ])("reads the listen address $value", ({ value, host, port }) => {
    expect(read({ data_dir: "d", api_listen: value }).values.api_listen).toEqual({ host, port });
  });

  it.each(["7400", ":7400", "host:65536", "host:07", "::1:7400", "a b:1", 7400])(
    "refuses the listen address %j",
    (value) => {
      expect(problemsOf({ data_dir: "d", api_listen: value })).toHaveLength(1);
    },
  );

  it("refuses a metrics address that others can reach", () => {
    const file = { data_dir: "d", metrics_listen: "0.0.0.0:9000" };
    expect(problemsOf(file)[0]).toContain("not a loopback address");
  });

  it("reads lists, booleans and words from the environment", () => {
    const env = {
      HOLDFAST_HUB_DENY: "a, b",
      HOLDFAST_HUB_VERBOSE: "true",
      HOLDFAST_HUB_LEVEL: "debug",
    };
    const { values } = read({ data_dir: "d" }, env);
    expect(values).toMatchObject({ deny: ["a", "b"], verbose: true, level: "debug" });
    const wrong = { data_dir: "d", deny: ["a", "b", "c", "d"], verbose: "true", level: "loud" };
    expect(problemsOf(wrong)).toHaveLength(3);
  });

  it("trims a value from the environment, with a warning", () => {
    const { values, warnings } = read({}, { HOLDFAST_HUB_DATA_DIR: "/d\r\n" });
    expect(values.data_dir).toBe("/d");
    expect(warnings).toEqual(["HOLDFAST_HUB_DATA_DIR: white space around the value was removed"]);
  });

  it("refuses a file that is not a map", () => {
    expect(problemsOf(["data_dir"])[0]).toContain("allowed: a map of keys to values");
  });

  it("has no settings named like parts of Object", () => {
    expect(problemsOf({ data_dir: "d", constructor: 1, toString: 2 })).toHaveLength(2);
  });
});

describe("durationMs", () => {
  it("knows the units", () => {
    expect(["250ms", "90s", "15m", "2h", "1d"].map(durationMs)).toEqual([
      250, 90_000, 900_000, 7_200_000, 86_400_000,
    ]);
  });
});

describe("unreadable", () => {
  it("names the path and what the operating system's code means", () => {
    const error = Object.assign(new Error("x"), { code: "EISDIR" });
    expect(unreadable("configuration", "/etc", error).message).toBe(
      "configuration /etc: it is a directory (EISDIR)",
    );
    expect(errnoMeaning(Object.assign(new Error("x"), { code: "ENOENT" }))).toContain(
      "no such file",
    );
  });

  it("never shows a token that was given instead of a file's name", () => {
    const error = Object.assign(new Error("x"), { code: "ENAMETOOLONG" });
    for (const token of [`hft_${"a".repeat(32)}_s3cret_0`, `/home/x/hfj_${"s3cret".repeat(50)}`]) {
      const fault = unreadable("token file", token, error);
      expect(fault.reason).toBe("SECRET_IN_ARGUMENT");
      expect(fault.message).not.toContain("s3cret");
    }
    expect(unreadable("token file", "tokens/hft_file", error).reason).toBe("FILE_UNREADABLE");
  });
});
