/** What of a spec says which program runs and how, whatever kind of resource it is. */
import type { ProcessSpec } from "@holdfast/shared/blueprint/kinds/process.ts";

export type ProgramSpec = Pick<
  ProcessSpec,
  "artefact" | "argv" | "env" | "secretFiles" | "limits" | "requests" | "user" | "umask"
>;
