/** Settings of the agent that depend on each other. */
import { describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";

const read = (file: object) =>
  readConfig({
    ...{ file: { state_dir: "/var/lib/holdfast", ...file }, fileName: "agent.yaml" },
    ...{ fileDirectory: "/", env: {}, workingDirectory: "/" },
  });

describe("whether what steps say may be shown", () => {
  it.each([
    { file: {}, stays: undefined },
    { file: { ship_logs: false }, stays: "ship_logs: false" },
    { file: { ship_logs: false, show_output: "on" }, stays: undefined },
    { file: { show_output: "off" }, stays: "show_output: off" },
    { file: { ship_logs: false, show_output: "off" }, stays: "show_output: off" },
  ])("with $file: $stays", ({ file, stays }) => {
    expect(read(file).values.outputStays).toBe(stays);
  });

  it("is told in one of three words", () => {
    expect(() => read({ show_output: "yes" })).toThrow(/show_output.*auto.*on.*off/s);
  });
});
