/** Fetching for parts that are made before the link is. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { FetchPort } from "./port.ts";

/** The link is made last, since it needs all the others; until then there is none. */
export function lateFetch(find: () => FetchPort | undefined): FetchPort {
  const present = () => {
    const found = find();
    if (found !== undefined) return found;
    throw new Fault("UNAVAILABLE", "LINK_DOWN", "the agent has not connected yet");
  };
  return {
    fetchRelease: async (digest, signal) => await present().fetchRelease(digest, signal),
    async *fetchArtefact(digest, offset, signal) {
      yield* present().fetchArtefact(digest, offset, signal);
    },
    fetchSecret: async (instanceId, name, version, signal) =>
      await present().fetchSecret(instanceId, name, version, signal),
  };
}
