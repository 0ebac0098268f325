/** All commands, in the order in which the help shows them within their chapter. A new one adds its two lines here. */
import { registerApply } from "./apply.ts";
import { registerCell } from "./cell.ts";
import { registerContext } from "./context.ts";
import { registerDelete } from "./delete.ts";
import { registerDescribe } from "./describe.ts";
import { registerEvents } from "./events.ts";
import { registerExplain } from "./explain.ts";
import { registerGet } from "./get.ts";
import { registerHelp } from "./help.ts";
import { registerKey } from "./key.ts";
import { registerLogs } from "./logs.ts";
import { registerMember } from "./member.ts";
import type { Registration } from "./registration.ts";
import { registerRelease } from "./release.ts";
import { registerSecret } from "./secret.ts";
import { registerUsage } from "./usage.ts";
import { registerVersion } from "./version.ts";
import { registerWait } from "./wait.ts";
import { registerWhoAmI } from "./whoami.ts";

export const REGISTRATIONS: readonly Registration[] = [
  registerApply,
  registerGet,
  registerDescribe,
  registerDelete,
  registerWait,
  registerCell,
  registerSecret,
  registerRelease,
  registerMember,
  registerKey,
  registerEvents,
  registerLogs,
  registerExplain,
  registerUsage,
  registerContext,
  registerWhoAmI,
  registerVersion,
  registerHelp,
];
