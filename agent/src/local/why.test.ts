/**
 * What `holdfast-agent why` answers, cause by cause, for instances that really are in that situation: one screen with
 * the reason, and what to do next. A crash loop is told in reconcile/crash-loop.test.ts, over real processes.
 */
import { AttemptState, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConsentPort } from "../consent/port.ts";
import {
  type AgentWorld,
  agentWorld,
  instanceId,
  type RunningAgent,
} from "../reconcile/engine.test-world.ts";
import type { ResourceInput } from "../reconcile/release.test-world.ts";
import { localReport } from "./report.ts";
import { findInstance, whyText } from "./show.ts";

/** Lines of one screen. */
const LINES_MAX = 40;

let world: AgentWorld;
let agent: RunningAgent;
beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

const reasonIs =
  (...reasons: readonly string[]) =>
  ({ conditions }: InstanceStatus) =>
    conditions.some(({ type, reason }) => type === "InSync" && reasons.includes(reason));

const offer = (number: bigint, resources: readonly ResourceInput[] = [{}]) =>
  agent.intake.offered(world.offerOf({ number, resources }));

async function serving(): Promise<void> {
  await offer(1n);
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
}

/** The page of the instance, as it is now. */
function why(): string {
  const report = localReport(agent.store, {
    ...{ running: true, isReadOnly: false, pid: 1, version: "0" },
    statuses: agent.engine.statuses().map(({ status }) => status),
  });
  const text = whyText(report, findInstance(report, instanceId()));
  expect(text.split("\n").length).toBeLessThanOrEqual(LINES_MAX);
  return text;
}

const next = (text: string) => /^next {6}(.*)$/m.exec(text)?.[1];

describe("why", () => {
  it("names readiness: what it said, the step, and that what served before serves", async () => {
    await serving();
    await offer(2n, [{ mode: "sick" }]);
    await agent.until(reasonIs("NOT_READY"));
    const text = why();
    expect(text).toMatch(/^serves +generation 1\.1, release 1\.0\.0$/m);
    expect(text).toMatch(
      /^attempt +generation 1\.2, release 2\.0\.0: RETURNED NOT_READY after \d+ ms/m,
    );
    expect(text).toMatch(/^ +worker: says it is sick$/m);
    expect(text).toMatch(
      /^ +UNDONE +start worker of 2\.0\.0 again \(\d+ ms, undone: stop the new /m,
    );
    expect(text).toMatch(
      /^before +generation 1\.1, release 1\.0\.0: COMMITTED after \d+ ms, began /m,
    );
    expect(next(text)).toBe(
      "holdfast instance output etl-1 shows what it said; then a release that becomes ready, or holdfast instance retry etl-1",
    );
  });

  it("names what a resource waits for while the attempt is under way, and that it goes on from the journal", async () => {
    const resources = [
      { id: "db", mode: "never-ready", readyMsMax: 60_000 },
      { id: "web", dependsOn: ["db"] },
    ];
    await offer(1n, resources);
    const doing = "db: not ready yet: answers 503; web: waits for db";
    const isTold = ({ conditions }: InstanceStatus) =>
      conditions.some(({ type, message }) => type === "InSync" && message.endsWith(doing));
    await agent.until(isTold);
    expect(why()).toContain(`ATTEMPT_APPLYING: the attempt at 1.1 is under way: ${doing}`);
    expect(next(why())).toBe("wait: it is under way");
    await agent.end();
    agent = world.begin();
    const message = `the attempt at 1.1 is under way, gone on with from its journal: ${doing}`;
    await agent.until(({ conditions }) => conditions.some((each) => each.message === message));
    expect(why()).toContain(`ATTEMPT_APPLYING: ${message}`);
  });

  it.each([
    {
      cause: "a port",
      fault: new Fault("FAILED_PRECONDITION", "PORT_IN_USE", "port 8080: pid 7 (nginx) has it"),
      says: "PORT_IN_USE: prepare worker: port 8080: pid 7 (nginx) has it",
      does: "end the holder that is named, or a release with another port; then holdfast instance retry etl-1",
    },
    {
      cause: "a disk that is full",
      fault: new Fault("UNAVAILABLE", "HOST_REFUSED", "the host refused: write: ENOSPC", {
        cause: Object.assign(new Error("write"), { code: "ENOSPC" }),
      }),
      says: "DISK_FULL: prepare worker: the host refused: write: ENOSPC",
      does: "make room on the agent's host (df -h); then holdfast instance retry etl-1",
    },
    {
      cause: "a quota that is used up",
      fault: Object.assign(new Error("write: EDQUOT"), { code: "EDQUOT" }),
      says: "DISK_FULL: prepare worker: write: EDQUOT",
      does: "make room on the agent's host (df -h); then holdfast instance retry etl-1",
    },
  ])("names $cause, before anything was changed", async ({ fault, says, does }) => {
    await serving();
    const orders = agent.driver.orders.length;
    agent.driver.faults.prepare = fault;
    await offer(2n, [{ mode: "x" }]);
    const { attempt } = await agent.until(
      (status) => status.attempt?.state === AttemptState.RETURNED,
    );
    await agent.until(reasonIs(attempt?.reason ?? ""));
    expect(why()).toContain(`InSync=False     ${says} (since`);
    expect(next(why())).toBe(does);
    expect(agent.driver.orders).toHaveLength(orders);
  });

  it("names the rule of the customer that holds it, and lets it begin once the rule does", async () => {
    await agent.end();
    let isNight = false;
    const consent: ConsentPort = {
      judge: () =>
        isNight
          ? { verdict: "allowed", rule: "hours" }
          : { verdict: "held", rule: "hours", message: "changes from 22:00 to 04:00" },
    };
    agent = world.begin({ consent });
    await offer(1n);
    await agent.until(reasonIs("CONSENT_HELD"));
    expect(why()).toContain("CONSENT_HELD: 1.1: hours: changes from 22:00 to 04:00");
    expect(next(why())).toBe(
      "a rule of the customer holds it; it begins by itself once that rule allows it",
    );
    isNight = true;
    agent.engine.wakeAll();
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
  });

  it("names a missing driver with its own reason", async () => {
    await agent.end();
    agent = world.begin({ missing: "/proc cannot be read" });
    await offer(1n);
    await agent.until(reasonIs("DRIVER_MISSING"));
    expect(why()).toContain("DRIVER_MISSING: worker: driver process: /proc cannot be read");
    expect(next(why())).toBe(
      "install on the agent's host what the driver names, then start the agent anew; it begins by itself",
    );
  });

  it("names the link where content is wanted that is not here", async () => {
    world.link.hasArtefacts = false;
    await offer(1n);
    await agent.until(reasonIs("LINK_DOWN"));
    expect(why()).toMatch(/LINK_DOWN: artefact worker: .*no link/);
    expect(next(why())).toBe(
      "it needs content that is not on the host; it begins by itself once the link is up",
    );
  });

  it("names what had no way back, resource by resource", async () => {
    await offer(1n, [{ id: "db" }, { id: "web" }]);
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    await offer(2n, [
      { id: "db", mode: "final" },
      { id: "web", mode: "fail", dependsOn: ["db"] },
    ]);
    await agent.until((status) => status.attempt?.state === AttemptState.PARTIAL);
    const text = why();
    expect(text).toMatch(/^ +db: at 1\.2$/m);
    expect(text).toMatch(/^ +web: on its way to 1\.2: web\/start: the disk said no, half way$/m);
    expect(text).toMatch(/^ +DONE +start db of 2\.0\.0 again \(irreversible, \d+ ms\)/m);
    expect(next(text)).toBe(
      "there is no way back: mend the cause, then holdfast instance retry etl-1, or a newer release",
    );
  });
});
