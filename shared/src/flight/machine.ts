/**
 * Protocol logic as a recorder needs it: (state, event, now, random) -> (state, effects), over plain data. Whoever
 * runs such a machine does so through a track, which is all that recording asks of it.
 */
import type { Random } from "../clock.ts";

export type Machine<State extends Readonly<{ phase: string }>, Event, Effect> = Readonly<{
  /** Stands in files; never changed. */
  name: string;
  step(
    state: State,
    event: Event,
    now: number,
    random: Random,
  ): readonly [State, readonly Effect[]];
  /** Strings that may stand in a file as they are: the machine's own, such as the types of its events. */
  words: ReadonlySet<string>;
}>;

/** One life of one machine. */
export interface Track<State, Event, Effect> {
  step(
    state: State,
    event: Event,
    now: number,
    random: Random,
  ): readonly [State, readonly Effect[]];
}

export interface Recorder {
  /** `of`: whose life it is, as an id of ours. */
  track<State extends Readonly<{ phase: string }>, Event, Effect>(
    machine: Machine<State, Event, Effect>,
    of: string,
  ): Track<State, Event, Effect>;
}

/** Runs machines and writes nothing. */
export const unrecorded: Recorder = { track: (machine) => machine };
