/** `npm run reset`: ends the local fleet, if it runs, and removes all of its state. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Fleet } from "./fleet/fleet.ts";
import { homeOf, layoutOf } from "./fleet/layout.ts";
import { takeDown } from "./fleet/setup.ts";

const root = join(import.meta.dirname, "..");
const home = homeOf(root, process.env);

if (existsSync(home)) {
  await takeDown(new Fleet(layoutOf(root, home), process.env));
  rmSync(home, { recursive: true, force: true });
}
process.stdout.write("the local fleet's state is gone\nnext: npm start\n");
