/**
 * The flight recorder: runs machines and writes down each step, redacted, so that an incident can be run again. What
 * cannot be written is left out and said once; a machine never notices. Steps of one job are written together.
 */
import type { Clock, Random } from "../clock.ts";
import { causeChain, Fault } from "../fault.ts";
import type { Log } from "../log.ts";
import {
  checkOf,
  type EndLine,
  FLIGHT_FORMAT,
  type GapLine,
  type HeaderLine,
  LINE_BYTES_MAX,
  type StateLine,
  type StepLine,
} from "./line.ts";
import type { Machine, Recorder, Track } from "./machine.ts";
import { Redaction } from "./redact.ts";
import { type FileSystem, FlightRing } from "./ring.ts";

/** Kept in memory until the job is over; more is written at once. */
const PENDING_BYTES_MAX = 256 * 1024;
/** After a failed write nothing is recorded for this long. */
const RETRY_MS = 60_000;

export type FlightBounds = Readonly<{ segmentBytesMax: number; segmentStepsMax: number }>;

export type FlightDeps = Readonly<{
  fs: FileSystem;
  plan: Readonly<{ program: string; bounds: FlightBounds; folderIn(directory: string): string }>;
  /** Where the program keeps its things. */
  directory: string;
  version: string;
  /** Random; names this process. */
  life: string;
  clock: Clock;
  log: Log;
}>;

export class FlightRecorder implements Recorder {
  readonly #deps: FlightDeps;
  readonly #ring: FlightRing;
  readonly #redactions = new Map<string, Redaction>();
  #pending = "";
  #isFlushDue = false;
  #segment = 0;
  #segmentBytes = 0;
  #segmentSteps = 0;
  #tracks = 0;
  /** Wall clock, ms: until then nothing is written. */
  #brokenUntil = 0;
  #hasEnded = false;

  constructor(deps: FlightDeps) {
    this.#deps = deps;
    this.#ring = new FlightRing(deps.fs, deps.plan.folderIn(deps.directory));
    this.#guarded(() => {
      const incident = this.#ring.takeUp(deps.clock.now());
      if (incident !== undefined) {
        deps.log.warn(
          { incident },
          "the life before this did not end in order; its flight is kept",
        );
      }
      this.#begin();
      this.#flush();
    });
  }

  track<State extends Readonly<{ phase: string }>, Event, Effect>(
    machine: Machine<State, Event, Effect>,
    of: string,
  ): Track<State, Event, Effect> {
    this.#tracks += 1;
    const redaction = this.#redactions.get(machine.name) ?? new Redaction(machine.words);
    this.#redactions.set(machine.name, redaction);
    return new RecordedTrack(machine, of, this.#tracks, this, redaction);
  }

  /** The last line, written at once. The file of a process that is killed has none. */
  end(end: EndLine["end"], error?: unknown): void {
    if (this.#hasEnded) return;
    const line: EndLine = {
      ...{ end, at: this.#deps.clock.now() },
      ...(error !== undefined && { error: nameOf(error) }),
    };
    this.#guarded(() => {
      this.#write(`${JSON.stringify(line)}\n`);
      this.#flush();
      this.#ring.close();
    });
    this.#hasEnded = true;
  }

  /** Whether a step may be written now. What `put` needs then is asked for first, since it may begin a segment. */
  isOpen(now: number): boolean {
    if (this.#hasEnded || now < this.#brokenUntil) return false;
    const { segmentBytesMax, segmentStepsMax } = this.#deps.plan.bounds;
    const isFull =
      this.#segmentBytes + 2 * LINE_BYTES_MAX > segmentBytesMax ||
      this.#segmentSteps >= segmentStepsMax;
    if (isFull || this.#brokenUntil > 0) this.#guarded(() => this.#begin());
    return now >= this.#brokenUntil;
  }

  /** Of the present segment; a track that was in another one writes its state first. */
  get segment(): number {
    return this.#segment;
  }

  put(text: string): void {
    this.#guarded(() => {
      this.#segmentSteps += 1;
      this.#write(text);
      if (this.#pending.length >= PENDING_BYTES_MAX) this.#flush();
      else if (!this.#isFlushDue) {
        this.#isFlushDue = true;
        queueMicrotask(() => this.#guarded(() => this.#flush()));
      }
    });
  }

  #begin(): void {
    this.#flush();
    this.#ring.rotate();
    this.#brokenUntil = 0;
    this.#segment += 1;
    this.#segmentBytes = 0;
    this.#segmentSteps = 0;
    const { plan, version, life, clock } = this.#deps;
    const header: HeaderLine = {
      ...{ flight: FLIGHT_FORMAT, program: plan.program, version, life },
      ...{ segment: this.#segment, at: clock.now() },
    };
    this.#write(`${JSON.stringify(header)}\n`);
  }

  #write(text: string): void {
    this.#pending += text;
    this.#segmentBytes += text.length;
  }

  #flush(): void {
    this.#isFlushDue = false;
    const text = this.#pending;
    this.#pending = "";
    if (text !== "") this.#ring.append(text);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      const { clock, log } = this.#deps;
      this.#pending = "";
      this.#brokenUntil = clock.now() + RETRY_MS;
      log.warn({ error: causeChain(error), retryMs: RETRY_MS }, "the flight recorder cannot write");
    }
  }
}

class RecordedTrack<State extends Readonly<{ phase: string }>, Event, Effect>
  implements Track<State, Event, Effect>
{
  readonly #machine: Machine<State, Event, Effect>;
  readonly #of: string;
  readonly #number: number;
  readonly #recorder: FlightRecorder;
  readonly #redaction: Redaction;
  #segment = 0;
  #last = "";
  /** The last state that was written or checked, and its check. */
  #before: State | undefined;
  #state = 0;
  #same = 0;

  constructor(
    machine: Machine<State, Event, Effect>,
    of: string,
    number: number,
    recorder: FlightRecorder,
    redaction: Redaction,
  ) {
    this.#machine = machine;
    this.#of = of;
    this.#number = number;
    this.#recorder = recorder;
    this.#redaction = redaction;
  }

  step(state: State, event: Event, now: number, random: Random) {
    if (!this.#recorder.isOpen(now)) {
      this.#segment = 0;
      return this.#machine.step(state, event, now, random);
    }
    const drawn: number[] = [];
    const drawing = () => {
      const number = random();
      drawn.push(number);
      return number;
    };
    try {
      const outcome = this.#machine.step(state, event, now, drawing);
      this.#note(state, event, now, drawn, outcome);
      return outcome;
    } catch (error) {
      this.#note(state, event, now, drawn, undefined);
      throw error;
    }
  }

  #note(
    before: State,
    event: Event,
    now: number,
    drawn: readonly number[],
    outcome: readonly [State, readonly Effect[]] | undefined,
  ): void {
    try {
      this.#noteStep(before, event, now, drawn, outcome);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#gap("NOT_PLAIN");
    }
  }

  #noteStep(
    before: State,
    event: Event,
    now: number,
    drawn: readonly number[],
    outcome: readonly [State, readonly Effect[]] | undefined,
  ): void {
    const recorder = this.#recorder;
    let head = "";
    if (this.#segment !== recorder.segment) {
      const text = this.#redaction.text(before);
      head = stateLine(this.#number, this.#machine.name, this.#of, text);
      this.#segment = recorder.segment;
      this.#last = "";
      this.#same = 0;
      this.#state = checkOf(text);
      this.#before = before;
    }
    const said = this.#redaction.text(event);
    const checks = outcome && this.#checksOf(outcome);
    const isStill = checks?.[0] === this.#state && drawn.length === 0;
    const key = isStill ? `${checks[1]} ${said}` : "";
    if (key !== "" && key === this.#last) {
      this.#same += 1;
      return;
    }
    const text = stepLine(this.#number, now, said, drawn, checks, this.#same);
    if (Math.max(text.length, head.length) > LINE_BYTES_MAX) {
      this.#gap("LINE_LONG");
      return;
    }
    recorder.put(head + text);
    this.#same = 0;
    this.#last = key;
    this.#state = checks?.[0] ?? 0;
    this.#before = outcome?.[0];
  }

  #checksOf([state, effects]: readonly [State, readonly Effect[]]): readonly [number, number] {
    const isSame = state === this.#before;
    return [
      isSame ? this.#state : checkOf(this.#redaction.text(state)),
      effects.length === 0 ? NO_EFFECTS : checkOf(this.#redaction.text(effects)),
    ];
  }

  /** Whatever comes next has the whole state before it. */
  #gap(gap: GapLine["gap"]): void {
    const line: GapLine = { t: this.#number, gap };
    this.#segment = 0;
    this.#recorder.put(`${JSON.stringify(line)}\n`);
  }
}

const NO_EFFECTS = checkOf("[]");

/** As JSON would write a StateLine. */
function stateLine(t: number, machine: string, of: string, state: string): string {
  const head: Omit<StateLine, "state"> = { t, machine, of };
  return `${JSON.stringify(head).slice(0, -1)},"state":${state}}\n`;
}

/** As JSON would write a StepLine. */
function stepLine(
  t: number,
  at: number,
  event: string,
  drawn: readonly number[],
  checks: StepLine["checks"],
  same: number,
): string {
  const chance = drawn.length === 0 ? "" : `,"random":[${drawn.join(",")}]`;
  const became = checks === undefined ? "" : `,"checks":[${checks[0]},${checks[1]}]`;
  const more = same === 0 ? "" : `,"same":${same}`;
  return `{"t":${t},"at":${at},"event":${event}${chance}${became}${more}}\n`;
}

/** Never its message, which may quote anything. */
function nameOf(error: unknown): string {
  if (error instanceof Fault) return error.reason;
  return error instanceof Error ? error.constructor.name : typeof error;
}
