/** Output of steps over the real link: asked for, told at the viewer's pace, ended from either side, holding up nothing. */
import { create } from "@bufbuild/protobuf";
import {
  type OutputPart,
  OutputPartSchema,
  ShowOutputSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { OUTPUTS_TOLD_MAX } from "../../agent/src/link/output-tellers.ts";
import type { OutputPort } from "../../agent/src/link/port.ts";
import {
  OUTPUT_VIEWS_MAX,
  OUTPUT_VIEWS_PER_CELL_MAX,
  OUTPUT_VIEWS_PER_VENDOR_MAX,
  type OutputView,
  OutputViews,
} from "../../hub/src/app/output-views.ts";
import { connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { eventually, MovableClock } from "./world.ts";

const part = (number: number, text = "x") =>
  create(OutputPartSchema, { attempt: 1n, position: `1.${number}`, lines: [{ text }] });

/** Says one after the other for as long as it is listened to. */
function talker(text = "x") {
  const counts = { told: 0, ended: 0, asked: 0 };
  const port: OutputPort = {
    async *show(_, signal) {
      counts.asked += 1;
      try {
        while (!signal.aborted) yield part(++counts.told, text);
      } finally {
        counts.ended += 1;
      }
    },
  };
  return { counts, port };
}

async function asking(output: OutputPort) {
  const { world, hub, running } = await fleet();
  const agent = await enrolled(world);
  const link = connect(agent, { output });
  await eventually("the link", () => agent.isUp);
  const viewer = new AbortController();
  const open = (id: string, cell = world.cell) =>
    hub.views.open(cell, create(ShowOutputSchema, { id }), viewer.signal);
  const opened = (id: string): OutputView => {
    const view = open(id);
    if (view === undefined) throw new Error("the agent is not connected");
    return view;
  };
  return { world, hub, running, agent, link, viewer, open, opened };
}

async function positions(view: OutputView, count: number): Promise<readonly string[]> {
  const found: string[] = [];
  while (found.length < count) found.push((await view.next())?.position ?? "over");
  return found;
}

describe("output", () => {
  it("comes in order, no faster than it is taken, and ends at the agent when the viewer goes", async () => {
    // Three parts fill what a stream may have on its way.
    const { counts, port } = talker("y".repeat(30_000));
    const { opened, viewer, hub, agent } = await asking(port);
    const view = opened("v1");
    expect(await view.answered()).toMatchObject({ id: "v1", reason: "" });
    expect(await positions(view, 3)).toEqual(["1.1", "1.2", "1.3"]);
    agent.say("ins_01980000000070008000000000000001");
    agent.measure(1n);
    await eventually("status and usage go on", () => hub.statuses.length + hub.batches.length >= 2);
    expect(counts.told).toBeLessThan(40);
    viewer.abort();
    await eventually("the agent stops", () => counts.ended === 1);
    expect(counts.told).toBeLessThan(40);
    expect(agent.changes.filter(({ up }) => !up)).toEqual([]);
  });

  it("is refused with the agent's reason", async () => {
    const stays = new Fault(
      "PERMISSION_DENIED",
      "OUTPUT_STAYS_HERE",
      "kept here (show_output: off)",
    );
    const { opened } = await asking({
      show() {
        throw stays;
      },
    });
    const { reason, message } = stays;
    expect(await opened("v1").answered()).toMatchObject({ reason, message });
  });

  it("that has an end ends at the viewer, and what failed in its middle is an end without a last part", async () => {
    const told: OutputPart[] = [part(1), { ...part(2), last: true }];
    const { opened } = await asking({
      async *show({ id }) {
        yield told[0] as OutputPart;
        if (id === "breaks") throw new Error("the disk");
        yield told[1] as OutputPart;
      },
    });
    const whole = opened("whole");
    await whole.answered();
    expect(await whole.next()).toMatchObject({ last: false });
    expect(await whole.next()).toMatchObject({ last: true });
    expect(await whole.next()).toBeUndefined();
    const broken = opened("breaks");
    await broken.answered();
    const seen: (OutputPart | undefined)[] = [];
    do seen.push(await broken.next());
    while (seen.at(-1) !== undefined);
    expect(seen.filter((each) => each?.last === true)).toEqual([]);
  });

  it("ends on both sides with the link, and nobody is asked where no agent is", async () => {
    const { counts, port } = talker("y".repeat(30_000));
    const { opened, open, link, world } = await asking(port);
    expect(open("elsewhere", { ...world.cell, cellId: world.cell.vendorId })).toBeUndefined();
    const view = opened("v1");
    await view.answered();
    await link.stop();
    expect(counts.ended).toBe(1);
    let part = await view.next();
    while (part !== undefined) part = await view.next();
    expect(open("v2")).toBeUndefined();
  });

  it("is bounded at the agent too, whatever the hub asks for", async () => {
    const { counts, port } = talker("y".repeat(30_000));
    const { hub, running, world } = await asking(port);
    const answers: string[] = [];
    const left = new AbortController().signal;
    const take = () => new Promise<void>(() => undefined);
    Object.assign(hub, {
      outputTold: (_: unknown, { id, reason }: { id: string; reason: string }) => {
        answers.push(reason === "" ? "told" : `${id} ${reason}`);
        return { left, take, ended: () => undefined };
      },
    });
    const session = running.link.sessions.activeIn(world.cell);
    for (let at = 0; at <= OUTPUTS_TOLD_MAX; at++) {
      session?.showOutput(create(ShowOutputSchema, { id: `v${at}` }));
    }
    await eventually("all answers", () => answers.length === OUTPUTS_TOLD_MAX + 1);
    expect(answers.filter((each) => each !== "told")).toEqual([
      `v${OUTPUTS_TOLD_MAX} OUTPUT_VIEWS_TOO_MANY`,
    ]);
    expect(counts.asked).toBe(OUTPUTS_TOLD_MAX);
  });

  it("is bounded in viewers, and another cell's agent answers for nobody", async () => {
    const { counts, port } = talker("y".repeat(30_000));
    const { open, opened, viewer, hub, world } = await asking(port);
    for (let at = 0; at < OUTPUT_VIEWS_PER_CELL_MAX; at++) opened(`v${at}`);
    expect(() => open("one more")).toThrow(/8 views of output of this cell are open/);
    await eventually("all are told", () => counts.asked === OUTPUT_VIEWS_PER_CELL_MAX);
    const answer = {
      $typeName: "holdfast.link.v1.OutputAnswer",
      id: "v1",
      reason: "",
      message: "",
    };
    const stranger = { ...world.cell, cellId: world.cell.vendorId };
    expect(() => hub.views.answered(stranger, answer as never)).toThrow(/nobody waits for it/);
    viewer.abort();
    await eventually("all have ended", () => counts.ended === OUTPUT_VIEWS_PER_CELL_MAX);
    expect(open("again")).toBeDefined();
  });
});

describe("a viewer", () => {
  it("takes no more than its share of its cell, its vendor and the hub", () => {
    const views = new OutputViews(new MovableClock());
    views.attach(() => true);
    const viewer = new AbortController();
    const open = (vendorId: string, at: number) =>
      views.open(
        { vendorId, cellId: `${Math.floor(at / OUTPUT_VIEWS_PER_CELL_MAX)}` },
        create(ShowOutputSchema, { id: `${vendorId}${at}` }),
        viewer.signal,
      );
    for (let at = 0; at < OUTPUT_VIEWS_PER_VENDOR_MAX; at++) open("a", at);
    expect(() => open("a", 1_000)).toThrow("50 views of output of this vendor are open");
    for (let at = 0; at < OUTPUT_VIEWS_MAX - OUTPUT_VIEWS_PER_VENDOR_MAX; at++) open("b", at);
    expect(() => open("c", 0)).toThrow("100 views of output of this hub are open");
    viewer.abort();
    expect(open("c", 0)).toBeDefined();
  });

  it("is told when the agent does not answer, and when it falls silent", async () => {
    const clock = new MovableClock();
    const at = { ...clock, sleep: async () => undefined };
    const views = new OutputViews(at);
    views.attach(() => true);
    const cell = { vendorId: "v", cellId: "c" };
    const show = create(ShowOutputSchema, { id: "v1" });
    const view = views.open(cell, show, new AbortController().signal);
    await expect(view?.answered()).rejects.toMatchObject({ reason: "OUTPUT_LATE" });
    await expect(view?.next()).rejects.toMatchObject({ reason: "OUTPUT_SILENT" });
  });
});
