/** Which secrets an assignment names: those that the customer keeps on the host, else the newest sealed ones. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SecretReferenceSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import * as instanceSecrets from "../store/instance-secrets.ts";
import type { Tx } from "../store/tx.ts";

export type SecretWish = MessageInitShape<typeof SecretReferenceSchema>;

/** `local` says for a declared name under which one the customer keeps it. */
export async function secretReferences(
  tx: Tx,
  { secrets: declared }: Pick<Blueprint, "secrets">,
  instanceId: string,
  local: Readonly<Record<string, string>>,
): Promise<readonly SecretWish[]> {
  if (declared.length === 0) return [];
  const newest = await instanceSecrets.listNewest(tx, instanceId);
  const sealed = new Map(newest.map((each) => [each.name, each]));
  return declared.flatMap(({ name }): readonly SecretWish[] => {
    const localName = local[name];
    if (localName !== undefined) return [{ name, localName }];
    const row = sealed.get(name);
    if (row === undefined) return [];
    const { version, digest: sealedDigest, agentId } = row;
    return [{ name, version, sealedDigest, agentId: idOf("agent", agentId) }];
  });
}
