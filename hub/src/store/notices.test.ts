/** Whether notices arrive is tried with a real one, as an operator's pooler may swallow them. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { describe, expect, it } from "vitest";
import { tryNotices } from "./notices.ts";
import { useTestStore } from "./testing.ts";

describe("tryNotices", () => {
  const store = useTestStore();
  const app = "holdfast_app";
  /** Waits a hundredth of the time: nothing will come. */
  const hurried = () => ({
    ...store().database,
    clock: {
      ...systemClock,
      sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal),
    },
  });

  it("resolves once its own notice is heard", async () => {
    await tryNotices(store().database, store().connection(app), "hello");
  });

  it("says that it was lost where the way to the database hands none on", async () => {
    const elsewhere = store().connection(app, "postgres");
    await expect(tryNotices(hurried(), elsewhere, "hello")).rejects.toMatchObject({
      ...{ code: "DEADLINE_EXCEEDED", reason: "NOTICE_LOST" },
      message: expect.stringContaining("pooler"),
    });
  });

  it("says that the database cannot be reached", async () => {
    const nowhere = { url: "postgres://holdfast_app@127.0.0.1:1/holdfast" };
    await expect(tryNotices(store().database, nowhere, "hello")).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });
});
