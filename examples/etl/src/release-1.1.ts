/** Entry of release 1.1.0. */
import { main } from "./main.ts";
import { RELEASE_1_1 } from "./release.ts";

await main(RELEASE_1_1);
