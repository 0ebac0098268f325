/**
 * Whether two processes have one agent's identity, by the lives that said hello: each start of an agent's process has
 * a life of its own, and one that has ended never says hello again. A life that comes back after another one was
 * there all along. Restarts, reboots and reconnects in any number only ever bring new lives or the present one.
 */

/** One start of an agent's process, as the hub remembers it. */
export type Life = Readonly<{
  id: string;
  /** How often it came back after another life. */
  returns: number;
}>;

/** The one that came last stands last. */
export type Lives = readonly Life[];

/** Older ones are forgotten: an agent that starts again and again has had many. */
export const LIVES_MAX = 8;
/**
 * By each of two lives. The last hello of a process that was killed may be read after the first one of the next
 * process, which then comes back as well: that is once for its own end and once for the end of the one before.
 */
export const RETURNS_MIN = 3;

/** `id` has said hello. An agent of a version without lives says none, and is not judged. */
export function livesAfter(lives: Lives, id: string): Lives {
  if (id === "" || lives.at(-1)?.id === id) return lives;
  const known = lives.find((each) => each.id === id);
  const returned = { id, returns: known === undefined ? 0 : known.returns + 1 };
  return [...lives.filter((each) => each !== known), returned].slice(-LIVES_MAX);
}

export function isForked(lives: Lives): boolean {
  return lives.filter(({ returns }) => returns >= RETURNS_MIN).length >= 2;
}
