/** Brings an artefact to the hub in parts; goes on where an earlier upload ended. */
import { open } from "node:fs/promises";
import { ReleaseService } from "@holdfast/proto/holdfast/api/v1/release_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { PackedArtefact } from "./artefact-file.ts";
import { bytesText } from "./format.ts";
import type { HubClient } from "./hub-client.ts";
import type { Terminal } from "./terminal.ts";

/** The most that one call takes. */
const PART_BYTES = 1_048_576;
/** The hub says where to go on; two parts in a row that lead nowhere end the upload. */
const STANDSTILLS_MAX = 2;

export async function uploadArtefact(
  terminal: Terminal,
  hub: HubClient,
  { name, file, digest, size }: PackedArtefact,
): Promise<void> {
  const client = hub.client(ReleaseService);
  const stat = await hub.call(() => client.statArtefact({ digest }));
  if (stat.complete) {
    terminal.err(`artefact ${name}: the hub has it (${bytesText(size)})\n`);
    return;
  }
  const source = await open(file);
  try {
    let offset = Number(stat.offset);
    for (let standstills = 0; ; ) {
      const part = Buffer.alloc(Math.min(PART_BYTES, size - offset));
      await source.read(part, 0, part.length, offset);
      const request = { digest, offset: BigInt(offset), size: BigInt(size), data: part };
      const answer = await hub.call(() => client.uploadArtefact(request));
      if (answer.complete) break;
      standstills = Number(answer.offset) > offset ? 0 : standstills + 1;
      offset = Number(answer.offset);
      if (standstills > STANDSTILLS_MAX || offset > size) {
        const message = `artefact ${name}: the hub does not go on from byte ${offset} of ${size}`;
        throw new Fault("INTERNAL", "UPLOAD_STUCK", message);
      }
    }
  } finally {
    await source.close();
  }
  terminal.err(`artefact ${name}: uploaded (${bytesText(size)})\n`);
}
