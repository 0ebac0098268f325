/**
 * What to do about an instance that is not deployed, by the reason that is told: one line, the same for the customer on
 * the agent's host and for the vendor. Pure. A reason that is not here is explained by `holdfast explain error`.
 */

const RETRY = "holdfast instance retry NAME";

const ADVICE: Readonly<Record<string, string>> = {
  // The attempt failed and is held.
  NOT_READY: `holdfast instance output NAME shows what it said; then a release that becomes ready, or ${RETRY}`,
  READY_DEADLINE: `holdfast instance output NAME shows what it said; then a release that becomes ready in its time, or ${RETRY}`,
  JOB_FAILED: `holdfast instance output NAME shows what it printed; then a release whose job succeeds, or ${RETRY}`,
  OUTPUT_MISSING:
    "a resource names an output that the other one does not give: a release that names one that it does",
  PORT_IN_USE: `end the holder that is named, or a release with another port; then ${RETRY}`,
  DISK_FULL: `make room on the agent's host (df -h); then ${RETRY}`,
  HOST_REFUSED: `the host's own words are in the message: disk, permissions, limits; then ${RETRY}`,
  TIMEOUT: `look at the host for what hangs; then ${RETRY}`,
  DRIVER_FAILED: `the driver's own words are in the message; then ${RETRY}`,
  SPEC_INVALID: "a release whose spec this agent can apply",
  // Nothing was begun.
  DRIVER_MISSING:
    "install on the agent's host what the driver names, then start the agent anew; it begins by itself",
  SECRET_MISSING:
    "enter the secret with the command that is named; the attempt then begins by itself",
  SECRET_EXPOSED: "protect the secret's file; the attempt then begins by itself",
  DRIFT_HELD:
    "a person decides: holdfast drift revert NAME brings back what was applied, holdfast drift adopt NAME accepts what is",
  CONSENT_HELD: "a rule of the customer holds it; it begins by itself once that rule allows it",
  CONSENT_VETOED: "a rule of this agent's configuration (deny) says no; what serves is not touched",
  STALE: "changes wait for the link; what serves is not touched",
  LINK_DOWN: "it needs content that is not on the host; it begins by itself once the link is up",
  STATE_REFUSED:
    "what serves is not touched; the vendor has to send an assignment that is acceptable",
  DESTROY_ORDER_MISSING:
    "the vendor signs a destroy order, or the customer approves it on the host: holdfast-agent destroy",
  // Under way.
  USAGE_UNREPORTED: "wait: the instance goes once the hub has taken its usage",
  ATTEMPT_APPLYING: "wait: it is under way",
  ATTEMPT_UNDOING: "wait: what was begun is being undone, and what served before serves",
  ATTEMPT_CLEANING: "wait: the new generation serves, the old one is being let go",
  PENDING: "wait: it is accepted and begins in a moment",
  // It is deployed and not well.
  CRASH_LOOP: "holdfast logs NAME shows its last words; it is started again by itself",
  RESOURCE_FAILED: "holdfast logs NAME shows its last words; it is started again by itself",
};

/** Undefined where nothing better can be said than to look the reason up. */
export function adviceOn(reason: string, name: string): string | undefined {
  return ADVICE[reason]?.replaceAll("NAME", name);
}

/** After an attempt that had no way back. */
export function adviceOnPartial(name: string): string {
  return `there is no way back: mend the cause, then ${RETRY.replaceAll("NAME", name)}, or a newer release`;
}
