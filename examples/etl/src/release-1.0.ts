/** Entry of release 1.0.0. */
import { main } from "./main.ts";
import { RELEASE_1_0 } from "./release.ts";

await main(RELEASE_1_0);
