/**
 * A process that appends to a telemetry store as fast as it can and says of each append that it was answered, until
 * somebody kills it. Its argument is the store's folder.
 */
import { writeSync } from "node:fs";
import { argv, stdout } from "node:process";
import { TelemetryEngine } from "./engine.ts";
import { appendOf, chunkOf } from "./telemetry.fixture.ts";

const MIB = 1024 * 1024;
const [, , folder = "", from = "0"] = argv;
const engine = new TelemetryEngine({
  folder,
  bounds: { ageMsMax: 86_400_000, logBytesMax: 1_024 * MIB, sampleBytesMax: 16 * MIB },
  now: () => Date.now(),
  note: () => undefined,
});

for (let n = Number(from); ; n++) {
  const texts = Array.from({ length: 20 }, (_, at) => `line ${n * 20 + at}`);
  engine.append(appendOf({ chunks: [chunkOf(texts, { from: n * 20, timeMs: Date.now() })] }));
  writeSync(stdout.fd, `${n}\n`);
  if (n % 50 === 0) engine.sync();
}
