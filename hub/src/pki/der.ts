/**
 * Finds one extension in a certificate's DER (RFC 5280, 4.1). Only walks the outline: the X.509 library takes
 * milliseconds to parse a certificate, and each call of an agent reads one. Refuses what it does not expect.
 */

const SEQUENCE = 0x30;
const EXTENSIONS = 0xa3;
const OBJECT_ID = 0x06;
const OCTET_STRING = 0x04;
/** Longest form of a length that a certificate of ours can need: two bytes. */
const LENGTH_BYTES_MAX = 2;

type Element = Readonly<{ tag: number; content: Uint8Array }>;

/**
 * The content of the extension's OCTET STRING, or undefined if there is none of this id. `objectId` is the
 * content of its OBJECT IDENTIFIER. Throws RangeError for anything but a certificate's outline.
 */
export function extensionIn(certificate: Uint8Array, objectId: Uint8Array): Uint8Array | undefined {
  const [outer] = elements(certificate);
  const [body] = elements(only(outer, SEQUENCE));
  const wrapped = elements(only(body, SEQUENCE)).find(({ tag }) => tag === EXTENSIONS);
  if (wrapped === undefined) return undefined;
  const [list] = elements(wrapped.content);
  for (const extension of elements(only(list, SEQUENCE))) {
    const [id, ...rest] = elements(only(extension, SEQUENCE));
    if (Buffer.compare(only(id, OBJECT_ID), objectId) !== 0) continue;
    return only(rest.at(-1), OCTET_STRING);
  }
  return undefined;
}

function only(element: Element | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw new RangeError(`expected tag ${tag}, got ${element?.tag}`);
  return element.content;
}

/** The elements that follow each other in `bytes`, all of them. */
function elements(bytes: Uint8Array): readonly Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = byteAt(bytes, at);
    const { length, start } = lengthAt(bytes, at + 1);
    const end = start + length;
    if (end > bytes.length) throw new RangeError("an element goes beyond its end");
    found.push({ tag, content: bytes.subarray(start, end) });
    at = end;
  }
  return found;
}

function lengthAt(bytes: Uint8Array, at: number): Readonly<{ length: number; start: number }> {
  const first = byteAt(bytes, at);
  if (first < 0x80) return { length: first, start: at + 1 };
  const count = first & 0x7f;
  if (count === 0 || count > LENGTH_BYTES_MAX) throw new RangeError("a length is out of bounds");
  let length = 0;
  for (let i = 1; i <= count; i++) length = length * 256 + byteAt(bytes, at + i);
  return { length, start: at + 1 + count };
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new RangeError("the bytes end in the middle of an element");
  return byte;
}
