/** Entry of release 1.2.0. */
import { main } from "./main.ts";
import { RELEASE_1_2 } from "./release.ts";

await main(RELEASE_1_2);
