/** A generation as proto JSON has it, where zeros are left out, in the form that people see. */
export type GenerationJson = Readonly<{ incarnation?: string; number?: string }>;

export function generationText(generation: GenerationJson | undefined): string {
  return `${generation?.incarnation ?? "0"}.${generation?.number ?? "0"}`;
}
