/** `npm run hub -- stop|start`: pulls the plug of the local fleet's hub, and puts it back. */
import { join } from "node:path";
import { Fleet } from "./fleet/fleet.ts";
import { homeOf, layoutOf } from "./fleet/layout.ts";

const root = join(import.meta.dirname, "..");
const fleet = new Fleet(layoutOf(root, homeOf(root, process.env)), process.env);

async function main(verb: string | undefined): Promise<number> {
  switch (verb) {
    case "stop":
      await fleet.stopHub();
      process.stdout.write(
        "the hub is stopped; agents and workloads go on\nnext: npm run hub -- start\n",
      );
      return 0;
    case "start":
      await fleet.startHub();
      process.stdout.write(`the hub is running at https://${fleet.endpoints()?.api}\n`);
      return 0;
    default:
      process.stderr.write("usage: npm run hub -- stop|start\n");
      return 2;
  }
}

main(process.argv[2]).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
