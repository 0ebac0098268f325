/**
 * Output as the engine sends it: frames of a stream's number and a length, and where times are asked for, each frame
 * begins with one. Pure.
 */

const HEADER_BYTES = 8;

export type Frames = Readonly<{ frames: readonly Buffer[]; rest: Buffer }>;

/** Whole frames of what has come so far. */
export function framesIn(data: Buffer): Frames {
  const frames: Buffer[] = [];
  let at = 0;
  while (data.length - at >= HEADER_BYTES) {
    const length = data.readUInt32BE(at + 4);
    const end = at + HEADER_BYTES + length;
    if (end > data.length) break;
    frames.push(data.subarray(at + HEADER_BYTES, end));
    at = end;
  }
  return { frames, rest: data.subarray(at) };
}

export function contentOf(data: Buffer): Buffer<ArrayBuffer> {
  return Buffer.concat(framesIn(data).frames);
}

/** `2026-11-21T19:16:33.144054221Z the line`: always nine digits, so that times compare as text. */
export function timed(frame: Buffer): Readonly<{ at: string; content: Buffer }> {
  const blank = frame.indexOf(0x20);
  if (blank < 0) return { at: "", content: frame };
  return { at: frame.toString("latin1", 0, blank), content: frame.subarray(blank + 1) };
}
