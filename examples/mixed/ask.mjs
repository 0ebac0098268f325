/** Asks an instance what it serves: `./holdfast get instance notes -o json | node examples/mixed/ask.mjs`. */
import { text } from "node:stream/consumers";

const { status } = JSON.parse(await text(process.stdin));
const { release, title, schema, notes } = await (await fetch(status.outputs.url)).json();
console.log(`release ${release}, ${title}, schema ${schema}`);
for (const note of notes) console.log(Object.values(note).join(" | "));
const tide = await (await fetch(status.outputs.tides)).text();
console.log(`tides: ${tide.trim()}`);
