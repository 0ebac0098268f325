/** The columns of each kind's table. */
import { stateOf, whyOf, worstOf } from "./conditions.ts";
import { ageOf, at, enumWord, listAt, textAt } from "./format.ts";
import type { ObjectView } from "./object-calls.ts";
import type { Cell } from "./table.ts";

export type Column = readonly [header: string, cell: (view: ObjectView, nowMs: number) => Cell];

const field = (header: string, path: string): Column => [header, (view) => textAt(view, path)];
const word = (header: string, path: string, prefix: string): Column => [
  header,
  (view) => enumWord(textAt(view, path), prefix),
];

const NAME = field("NAME", "metadata.name");
const TENANT = field("TENANT", "metadata.tenant");
const AGE: Column = ["AGE", (view, now) => ageOf(at(view, "metadata.createTime"), now)];
const STATE: Column = [
  "STATE",
  (view) => {
    const severity = worstOf(view)?.severity ?? 0;
    const text = stateOf(view);
    const tone =
      severity === 2 ? "bad" : severity === 1 ? "unsure" : text === "-" ? "plain" : "good";
    return { text, tone };
  },
];
const WHY: Column = ["WHY", (view) => whyOf(view)];

/** What serves, and what is on its way. */
function releaseCell(view: ObjectView): string {
  const wanted = textAt(view, "spec.release");
  const serving = textAt(view, "status.committedRelease");
  return serving === "-" || serving === wanted ? wanted : `${serving} -> ${wanted}`;
}

function grantsCell(view: ObjectView): string {
  const grants = listAt(view, "spec.grants").map((each) => enumWord(textAt(each, "role"), "ROLE_"));
  return grants.join(", ") || "-";
}

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  tenant: [NAME, field("DISPLAY NAME", "spec.displayName"), AGE],
  product: [NAME, field("DISPLAY NAME", "spec.displayName"), AGE],
  release: [
    NAME,
    field("PRODUCT", "spec.product"),
    field("VERSION", "spec.version"),
    field("NUMBER", "spec.number"),
    ["DIGEST", (view) => textAt(view, "spec.digest").slice(0, 19)],
    AGE,
  ],
  plan: [
    NAME,
    field("PRODUCT", "spec.product"),
    word("TENANCY", "spec.tenancyModel", "TENANCY_MODEL_"),
    field("VERSION", "status.version"),
    AGE,
  ],
  environment: [NAME, field("RANK", "spec.rank"), AGE],
  subscription: [NAME, TENANT, field("PLAN", "spec.plan"), STATE, AGE, WHY],
  cell: [
    NAME,
    TENANT,
    word("KIND", "spec.kind", "CELL_KIND_"),
    field("REGION", "spec.region"),
    field("AGENT", "status.activeAgent"),
    field("INSTANCES", "status.instances"),
    STATE,
    AGE,
    WHY,
  ],
  agent: [
    NAME,
    TENANT,
    field("CELL", "spec.cell"),
    word("ROLE", "status.state", "AGENT_STATE_"),
    field("VERSION", "status.version"),
    STATE,
    ["SEEN", (view, now) => ageOf(at(view, "status.seenTime"), now)],
    AGE,
    WHY,
  ],
  instance: [
    NAME,
    TENANT,
    field("CELL", "spec.cell"),
    field("PLAN", "spec.plan"),
    ["RELEASE", releaseCell],
    STATE,
    AGE,
    WHY,
  ],
  seat: [
    NAME,
    TENANT,
    field("PRODUCT", "spec.product"),
    field("INSTANCE", "spec.instance"),
    field("RELEASE", "status.release"),
    STATE,
    AGE,
    WHY,
  ],
  member: [NAME, TENANT, field("DISPLAY NAME", "spec.displayName"), ["ROLES", grantsCell], AGE],
};

export function columnsOf(kindName: string): readonly Column[] {
  return COLUMNS[kindName] ?? [NAME, AGE];
}
