/**
 * Refuses to begin where the disk is too full to end: npm was seen to report success after it had cut a program off
 * at the last free byte.
 */
import * as fs from "node:fs";
import { noSpaceLeft, SetupProblem } from "./problem.mjs";

/** Measured on x64: the toolchain takes 251 MB, the packages 150 MB (run) and 450 MB (all); with some room. */
export const SPACE_BYTES_MIN = { toolchain: 300e6, run: 250e6, all: 600e6 };

/**
 * Throws a SetupProblem. Does nothing before Node 18.15, which cannot tell.
 * @param {string} directory
 * @param {number} bytesMin
 * @param {string} what for the sentence
 */
export function checkSpace(directory, bytesMin, what) {
  if (!("statfsSync" in fs)) return;
  const { bavail, bsize } = fs.statfsSync(directory);
  if (bavail * bsize < bytesMin) throw new SetupProblem(noSpaceLeft(what, directory));
}
