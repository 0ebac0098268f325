/** YAML as we write it. In a file of its own, since the library is large and most runs write none. */
import { stringify } from "yaml";

export function yamlOf(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}
