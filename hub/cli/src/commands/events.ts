/**
 * `holdfast events`: what happened, who did it, and what happens now with --follow. A person sees the newest first;
 * scripts and --follow get them in their order.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { type EventView, eventLine, followEvents, isChange, latestEvents } from "../event-feed.ts";
import { textAt } from "../format.ts";
import type { HubClient } from "../hub-client.ts";
import { jsonText, type OutputForm, yamlText } from "../output.ts";
import { Sensitive } from "../sensitive.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { timeOption } from "../time-option.ts";

export type EventsOptions = HubOptions &
  Readonly<{
    follow?: boolean;
    subject?: string;
    limit?: number;
    since?: string;
    changes?: boolean;
  }>;

const LIMIT_DEFAULT = 50;

export async function events(terminal: Terminal, options: EventsOptions): Promise<void> {
  const form = options.output ?? "table";
  const sinceMs = timeOption("--since", options.since, terminal.clock.now());
  await withHub(terminal, options, async (hub) => {
    const query = { tenant: hub.context.tenant, subject: options.subject };
    const count = options.limit ?? LIMIT_DEFAULT;
    const latest = await latestEvents(hub, query, {
      count,
      sinceMs,
      isChangesOnly: options.changes === true,
    });
    const isFollowing = options.follow === true;
    const isForPerson = form === "table" && !isFollowing;
    const shown = isForPerson ? latest.events : latest.events.toReversed();
    const print = printer(terminal, hub, form);
    if (form === "json" && !isFollowing) terminal.out(jsonText({ events: [...shown] }));
    else for (const event of shown) await print(event);
    if (shown.length === 0 && isForPerson) terminal.err("no events\n");
    if (!isFollowing) return;
    let printed = Promise.resolve();
    await followEvents(terminal, hub, query, latest.token, (event) => {
      if (options.changes === true && !isChange(event)) return;
      printed = printed.then(() => print(event));
    });
    await printed;
    const message = "the events are no longer followed";
    throw new Fault("CANCELLED", "INTERRUPTED", message, { next: "holdfast events" });
  });
}

/** While following, JSON is one object in a line. */
function printer(terminal: Terminal, hub: HubClient, form: OutputForm) {
  const sensitive = new Sensitive(hub);
  return async (event: EventView): Promise<void> => {
    if (form === "json") terminal.out(`${JSON.stringify(event)}\n`);
    else if (form === "yaml") terminal.out(`${await yamlText(event)}---\n`);
    else if (form === "name") terminal.out(`event/${textAt(event, "id")}\n`);
    else terminal.out(`${await eventLine(event, sensitive)}\n`);
  };
}
