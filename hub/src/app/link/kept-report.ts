/** What agents say that they keep: taken in also for instances that are gone, where nothing else is taken in any more. */
import { equals, fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type InstanceStatus,
  InstanceStatusSchema,
  type KeptData,
  KeptDataSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { escapeControls } from "@holdfast/shared/text.ts";
import type { InstanceHead } from "../../store/instances.ts";
import * as keptData from "../../store/kept-data.ts";
import type { StatusRow } from "../../store/statuses.ts";
import type { Tx } from "../../store/tx.ts";

/** Names and resources are words of a release; longer ones are cut. */
const NAME_CHARS_MAX = 255;

export type Told = Readonly<{
  head: InstanceHead;
  report: InstanceStatus;
  before: StatusRow | undefined;
}>;

/** Writes nothing where nothing differs, which is nearly always. */
export async function keepData(tx: Tx, told: readonly Told[], at: Date): Promise<void> {
  const news = new Map(told.filter(isNews).map((each) => [each.head.id, each]));
  const rows = [...news.values()].flatMap(({ head, report }) => rowsOf(head, report.kept));
  await keptData.replaceAll(tx, [...news.keys()], rows, at);
}

/** Of one that is gone the stored report is the last one before that. */
function isNews({ head, report, before }: Told): boolean {
  if (head.isGone) return true;
  const last = before === undefined ? [] : fromBinary(InstanceStatusSchema, before.report).kept;
  return (
    last.length !== report.kept.length ||
    report.kept.some((each, at) => {
      const known = last[at];
      return known === undefined || !equals(KeptDataSchema, known, each);
    })
  );
}

function rowsOf(head: InstanceHead, kept: readonly KeptData[]): readonly keptData.NewKept[] {
  const byName = new Map(kept.slice(0, keptData.KEPT_NAMES_MAX).map((each) => [each.name, each]));
  return [...byName.values()].flatMap(({ name, resource, bytes, since }) => {
    if (name === "" || since === undefined) return [];
    const words = { name: shortened(name), resource: shortened(resource) };
    return [
      {
        ...{ tenantId: head.tenantId, cellId: head.cellId, instanceId: head.id },
        ...{ ...words, bytes, since: timestampDate(since) },
      },
    ];
  });
}

function shortened(text: string): string {
  return escapeControls(text).slice(0, NAME_CHARS_MAX);
}
