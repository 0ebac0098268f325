/** The few messages of etcd's API v3 that a watch needs, by their field numbers in etcd's rpc.proto and kv.proto. */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

const LENGTH_DELIMITED = 2;
const field = (number: number) => (number << 3) | LENGTH_DELIMITED;

/** WatchRequest { create_request = 1: WatchCreateRequest { key = 1 } } */
export function watchRequest(key: string): Uint8Array {
  const create = new BinaryWriter().uint32(field(1)).bytes(Buffer.from(key)).finish();
  return new BinaryWriter().uint32(field(1)).bytes(create).finish();
}

/** TxnRequest { success = 2: repeated RequestOp { request_put = 2: PutRequest { key = 1, value = 2 } } } */
export function putAll(pairs: readonly (readonly [key: string, value: Uint8Array])[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [key, value] of pairs) {
    const put = new BinaryWriter()
      .uint32(field(1))
      .bytes(Buffer.from(key))
      .uint32(field(2))
      .bytes(value)
      .finish();
    writer.uint32(field(2)).bytes(new BinaryWriter().uint32(field(2)).bytes(put).finish());
  }
  return writer.finish();
}

/** Values in a WatchResponse { created = 3, events = 11: Event { kv = 2: KeyValue { value = 5 } } }. */
export function valuesIn(response: Uint8Array): readonly Uint8Array[] {
  return all(response, 11).flatMap((event) => all(event, 2).flatMap((kv) => all(kv, 5)));
}

/** All length-delimited fields of this number. */
function all(message: Uint8Array, wanted: number): readonly Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === wanted && type === LENGTH_DELIMITED) found.push(reader.bytes());
    else reader.skip(type, number);
  }
  return found;
}
