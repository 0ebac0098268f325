/** Names that drivers take from marks, journals and folders: anything else was not written by an agent. */

/** Names are path segments: nothing from an environment or a journal leads out of the run directory. */
export function isHandle(name: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]|\.(?!\.)){0,150}$/.test(name);
}

/** What says otherwise was not written by an agent: it is left alone. */
export function isInstanceId(text: string | undefined): text is string {
  return text !== undefined && /^ins_[0-9a-f]{32}$/.test(text);
}
