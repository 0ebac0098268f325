/** `holdfast agent list|show`: what can be typed. */
import { listAndShow } from "./nouns.ts";
import type { Registration } from "./registration.ts";

export const registerAgent: Registration = (program, typed) => {
  listAndShow(program, typed, "agent");
};
