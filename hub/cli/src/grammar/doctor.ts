/** `holdfast doctor`: what can be typed. */
import { EXIT } from "../exit-codes.ts";
import { hub } from "./options.ts";
import { CHAPTER, type Registration } from "./registration.ts";

export const registerDoctor: Registration = (program, { terminal, version, noted }) => {
  hub(program.command("doctor"))
    .description("what works between here and the hub, and what to do about the rest")
    .helpGroup(CHAPTER.own)
    .action(async (options) => {
      const { doctor } = await import("../commands/doctor.ts");
      if (!(await doctor(terminal, version, options))) noted.exit = EXIT.failure;
    });
};
