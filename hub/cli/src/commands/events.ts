/** `holdfast events`: what happened, who did it, and what happens now with --follow. */
import { Fault } from "@holdfast/shared/fault.ts";
import { type EventView, eventLine, followEvents, latestEvents } from "../event-feed.ts";
import { textAt } from "../format.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export type EventsOptions = HubOptions &
  Readonly<{ follow?: boolean; subject?: string; limit?: number }>;

const LIMIT_DEFAULT = 50;

export async function events(terminal: Terminal, options: EventsOptions): Promise<void> {
  const form = options.output ?? "table";
  await withHub(terminal, options, async (hub) => {
    const query = { tenant: hub.context.tenant, subject: options.subject };
    const count = options.limit ?? LIMIT_DEFAULT;
    const { events: latest, token } = await latestEvents(hub, query, count);
    const isFollowing = options.follow === true;
    if (form === "json" && !isFollowing) terminal.out(jsonText({ events: [...latest] }));
    else for (const event of latest) await printEvent(terminal, event, form);
    if (latest.length === 0 && !isFollowing && form === "table") terminal.err("no events\n");
    if (!isFollowing) return;
    let printed = Promise.resolve();
    await followEvents(terminal, hub, query, token, (event) => {
      printed = printed.then(() => printEvent(terminal, event, form));
    });
    await printed;
    const message = "the events are no longer followed";
    throw new Fault("CANCELLED", "INTERRUPTED", message, { next: "holdfast events" });
  });
}

/** While following, JSON is one object in a line. */
async function printEvent(terminal: Terminal, event: EventView, form: OutputForm): Promise<void> {
  if (form === "json") terminal.out(`${JSON.stringify(event)}\n`);
  else if (form === "yaml") terminal.out(`${await yamlText(event)}---\n`);
  else if (form === "name") terminal.out(`event/${textAt(event, "id")}\n`);
  else terminal.out(`${eventLine(event)}\n`);
}
