/** Lists of instances and seats, narrowed to whom a release or a cell concerns. */
import { isId, uuidOf } from "@holdfast/shared/ids.ts";
import * as affected from "../store/affected.ts";
import { INSTANCES } from "../store/object-tables.ts";
import type { Condition } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import { notFound, resolve } from "./reference.ts";
import type { Narrowing } from "./standard.ts";

type Asked = Readonly<{ release: string; cell: string }>;

export function instancesConcerned({ release, cell }: Asked): Narrowing {
  return {
    asked: [release, cell],
    conditions: async (tx) => [
      ...(await ofRelease(tx, release, affected.concernedBy)),
      ...(await ofCell(tx, cell)),
    ],
  };
}

export function seatsConcerned({
  instance,
  release,
  cell,
}: Asked & Readonly<{ instance: string }>): Narrowing {
  return {
    asked: [instance, release, cell],
    conditions: async (tx) => [
      ...(await ofRelease(tx, release, affected.servedBy)),
      ...(await ofCell(tx, cell)),
    ],
    equal: async (tx) => {
      if (instance === "") return {};
      const reference = { kind: "instance", table: INSTANCES, text: instance } as const;
      return { instance_id: (await resolve(tx, { ...reference, path: "instance" })).id };
    },
  };
}

/** Throws NOT_FOUND for a release that the caller may not know of, so that a slip is no empty answer. */
async function ofRelease(
  tx: Tx,
  text: string,
  condition: (found: readonly affected.VisibleRelease[]) => Condition,
): Promise<readonly Condition[]> {
  if (text === "") return [];
  const key = isId(text) ? { id: uuidOf("release", text, "release") } : { text };
  const found = await affected.releases(tx, key);
  if (found.length === 0) throw notFound({ kind: "release", text });
  return [condition(found)];
}

async function ofCell(tx: Tx, text: string): Promise<readonly Condition[]> {
  if (text === "") return [];
  const key = isId(text) ? { id: uuidOf("cell", text, "cell") } : { text };
  const found = await affected.cells(tx, key);
  if (found.length === 0) throw notFound({ kind: "cell", text });
  return [affected.inCells(found)];
}
