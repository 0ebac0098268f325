/** Where an instance's published outputs stand for others to read. */
import { join } from "node:path";

/** Beside the seat list, in the instance's own directory. */
export function outputsFile(seatsFile: string): string {
  return join(seatsFile, "..", "outputs.json");
}
