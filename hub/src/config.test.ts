/** The settings of the hub: what is refused, and that all of it comes at once. */
import type { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";

const read = (file: unknown, env: Record<string, string> = {}) =>
  readConfig({
    file,
    env,
    fileName: "hub.yaml",
    fileDirectory: "/etc/holdfast",
    workingDirectory: "/work",
  }).values;

const problemsOf = (file: unknown, env: Record<string, string> = {}) => {
  try {
    read(file, env);
    return [];
  } catch (error) {
    return (error as Fault).violations.map(({ path, message }) => `${path}: ${message}`);
  }
};

describe("readConfig", () => {
  it("needs the data directory and nothing else", () => {
    expect(problemsOf({})).toEqual([expect.stringContaining("data_dir")]);
    expect(read({ data_dir: "data" })).toMatchObject({
      dataDir: "/etc/holdfast/data",
      apiListen: { host: "127.0.0.1", port: 7400 },
      keyFile: "/etc/holdfast/data/hub.key",
      databaseUrl: undefined,
      vendor: "vendor",
    });
  });

  it("takes the environment over the file", () => {
    const env = { HOLDFAST_HUB_API_LISTEN: "127.0.0.1:0" };
    expect(read({ data_dir: "/d", api_listen: "127.0.0.1:1" }, env).apiListen.port).toBe(0);
  });

  it("takes the database's address as DATABASE_URL too, behind the prefixed name", () => {
    const plain = {
      DATABASE_URL: "postgres://a/plain",
      KEY_DATABASE_URL: "postgres://a/key",
      LISTEN_DATABASE_URL: "postgres://a/direct",
    };
    const file = { data_dir: "/d", database_url: "postgres://a/file" };
    expect(read(file, plain)).toMatchObject({
      databaseUrl: "postgres://a/plain",
      keyDatabaseUrl: "postgres://a/key",
      listenDatabaseUrl: "postgres://a/direct",
    });
    const both = { ...plain, HOLDFAST_HUB_DATABASE_URL: "postgres://a/prefixed" };
    expect(read(file, both).databaseUrl).toBe("postgres://a/prefixed");
  });

  it("names every problem at once", () => {
    const found = problemsOf({
      data_dir: "/d",
      api_lisen: "127.0.0.1:1",
      link_listen: "70000",
      database_url: "mysql://user:secret@host/x",
      shutdown_ms_max: "10",
    });
    expect(found).toHaveLength(4);
    expect(found.join("\n")).toContain("did you mean api_listen");
    expect(found.join("\n")).not.toContain("secret");
  });
});

describe("the collector", () => {
  const given = (about: object) => ({ data_dir: "/d", ...about });

  it("is none unless it is named", () => {
    expect(read(given({})).otlp).toBeUndefined();
    const otlp_endpoint = "https://collector.example.com/otlp";
    expect(read(given({ otlp_endpoint, otlp_headers_file: "headers" })).otlp).toEqual({
      endpoint: otlp_endpoint,
      headersFile: "/etc/holdfast/headers",
      caFile: undefined,
      requestMsMax: 10_000,
      batchBytesMax: 1_048_576,
      queueBytesMax: 67_108_864,
      metricsMs: 60_000,
    });
  });

  it.each([
    ["http://collector.example.com:4318", "otlp_endpoint: https only, but for http on loopback"],
    ["https://c.example.com/?key=abc", "otlp_endpoint: nothing may follow the path"],
    ["https://me:key@c.example.com", "otlp_endpoint: a URL must not hold credentials"],
  ])("is not %s", (otlp_endpoint, problem) => {
    const [found] = problemsOf(given({ otlp_endpoint }));
    expect(found).toContain(problem);
    expect(found).not.toMatch(/abc|me:key/);
  });

  it("may be on this machine in clear", () => {
    const otlp_endpoint = "http://127.0.0.1:4318";
    expect(read(given({ otlp_endpoint })).otlp?.endpoint).toBe("http://127.0.0.1:4318/");
  });

  it("is needed for its files to mean something", () => {
    expect(problemsOf(given({ otlp_ca_file: "/ca.pem" }))).toEqual([
      "otlp_ca_file: there is no otlp_endpoint that it could be for",
    ]);
  });
});
