/**
 * The output of one attempt while it runs: what drivers say in its steps, and what the copies print that are new since
 * it began, until they are ready. Read from the files that they append to anyway, so nobody waits for it, and nothing
 * that goes wrong here is more than a line in the log.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { redacted, secretWords } from "@holdfast/shared/redaction.ts";
import { escapeLine } from "@holdfast/shared/text.ts";
import type { Driver, DriverContext, LogFile, Redactor, Step } from "../drivers/driver.ts";
import { type OpenLine, splitLines } from "../telemetry/lines.ts";
import type { OutputKey, StepOutputs } from "./outputs.ts";

/** Between two looks at what copies print. */
const LOOK_MS = 250;
/** Of one log in one look. What came faster than that is left out, up to its end. */
const LOOK_BYTES_MAX = 262_144;
const READ_BYTES = 65_536;
const LINES_MAX = 10_000;
/** Of what a driver says; what a copy prints has the bound of logs. */
const LINE_CHARS_MAX = 4_000;

export type AttemptOutputDeps = Readonly<{
  outputs: StepOutputs;
  drivers: ReadonlyMap<string, Driver>;
  context: DriverContext;
  clock: Clock;
  log: Log;
}>;

/** What one step's driver says, without the secrets that it was given. */
export type StepVoice = Readonly<{
  line(text: string): void;
  learn(secrets: ReadonlyMap<string, string>): void;
}>;

type Followed = {
  segment: number;
  offset: number;
  open: OpenLine | undefined;
  redactor: Redactor | undefined;
};
type Working = Readonly<{ step: string; kind: string }>;

export class AttemptOutput {
  readonly #deps: AttemptOutputDeps;
  readonly #key: OutputKey;
  readonly #since: number | undefined;
  readonly #stop = new AbortController();
  /** Resources that are being brought up, with the step that they are at. */
  readonly #working = new Map<string, Working>();
  /** Of all renderings that were worked on, and the steps that did. */
  readonly #secrets = new Set<string>();
  readonly #taught = new Set<string>();
  /** Logs by identity: those that are read, and those that are not the attempt's or that it is through with. */
  readonly #followed = new Map<string, Followed>();
  readonly #others = new Set<string>();
  readonly #noticed = new Map<string, Promise<void>>();
  #words: readonly string[] = [];
  #looking: Promise<void> = Promise.resolve();
  #running: Promise<void> | undefined;

  /** `kept`: attempts whose output stays, this one's too if it goes on; `since`: then, when it began. */
  constructor(deps: AttemptOutputDeps, key: OutputKey, kept: readonly number[], since?: number) {
    this.#deps = deps;
    this.#key = key;
    this.#since = since;
    this.#guarded(() => {
      // What an earlier life of the agent followed is gone on with, where that one stopped.
      for (const [identity, place] of deps.outputs.open(key, kept).places) {
        this.#followed.set(identity, { ...place, open: undefined, redactor: undefined });
      }
    });
  }

  voice(step: string): StepVoice {
    return {
      line: (text) => this.#say(step, text),
      learn: (secrets) => {
        this.#taught.add(step);
        for (const value of secrets.values()) this.#secrets.add(value);
        this.#words = secretWords(this.#secrets);
      },
    };
  }

  /** Before the first step of a kind: what is there already is no output of the attempt. */
  notice(kind: string): Promise<void> {
    const known = this.#noticed.get(kind);
    if (known !== undefined) return known;
    const noticed = this.#filesOf(kind).then((files) => {
      for (const file of files) {
        if (!this.#isOwn(kind, file)) this.#others.add(file.identity);
      }
    });
    this.#noticed.set(kind, noticed);
    return noticed;
  }

  /** What an earlier life of the agent began: nothing that runs to its end prints for an older attempt as well. */
  #isOwn(kind: string, { identity, writtenAt }: LogFile): boolean {
    if (this.#followed.has(identity)) return true;
    const runsToEnd = this.#deps.drivers.get(kind)?.runsToEnd === true;
    return runsToEnd && this.#since !== undefined && writtenAt >= this.#since;
  }

  /** From now on what new copies of its resource print is this step's. */
  begin({ id, resourceId, kind }: Pick<Step, "id" | "resourceId" | "kind">): void {
    this.#working.set(resourceId, { step: id, kind });
    this.#running ??= this.#run();
  }

  /** It serves: what its copies print from now on is no step's any more. What runs to its end is read on to that. */
  async settle(resourceId: string): Promise<void> {
    const { kind = "" } = this.#working.get(resourceId) ?? {};
    await this.look();
    if (this.#deps.drivers.get(kind)?.runsToEnd === true) return;
    for (const file of await this.#filesOf(kind)) {
      if (file.key.resourceId !== resourceId) continue;
      this.#followed.delete(file.identity);
      this.#others.add(file.identity);
    }
    this.#working.delete(resourceId);
  }

  /** Reads what is there now. `isEnd`: a line without an end is one all the same. */
  look(isEnd = false): Promise<void> {
    this.#looking = this.#looking.then(async () => {
      const kinds = new Set([...this.#working.values()].map(({ kind }) => kind));
      for (const kind of kinds) await this.#lookAt(kind, isEnd);
    });
    return this.#looking;
  }

  async end(): Promise<void> {
    this.#stop.abort("over");
    await this.#running;
    await this.look(true);
    this.#deps.outputs.close(this.#key);
  }

  async #run(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(LOOK_MS, this.#stop.signal);
      if (!this.#stop.signal.aborted) await this.look();
    }
  }

  async #lookAt(kind: string, isEnd: boolean): Promise<void> {
    const driver = this.#deps.drivers.get(kind);
    if (driver === undefined) return;
    for (const file of await this.#filesOf(kind)) {
      const at = this.#working.get(file.key.resourceId);
      if (at?.kind !== kind || this.#others.has(file.identity)) continue;
      const reading = this.#read(driver, file, at.step, isEnd);
      await reading.catch((error: unknown) => this.#failed(error));
    }
  }

  async #filesOf(kind: string): Promise<readonly LogFile[]> {
    const { instanceId } = this.#key;
    try {
      const files = await this.#deps.drivers.get(kind)?.logFiles(this.#deps.context, instanceId);
      return (files ?? []).filter(({ key }) => key.instanceId === instanceId);
    } catch (error) {
      this.#failed(error);
      return [];
    }
  }

  async #read(driver: Driver, file: LogFile, step: string, isLast: boolean): Promise<void> {
    const { context } = this.#deps;
    const at = this.#followedOf(driver, file, step);
    if (at === undefined) return;
    for (let bytes = 0; at.segment < file.segment || at.offset < file.bytes; ) {
      if (bytes >= LOOK_BYTES_MAX) return this.#skip(file, at, step);
      const read = await driver.readLog(file, at, READ_BYTES, context);
      if (read.wasCut) this.#note(step, "some of its output is missing here: its log was cut");
      at.offset = read.at.offset;
      const isOver = at.segment === file.segment && read.data.length < READ_BYTES;
      const used = this.#take(file, at, step, read.data, read.isEnd || (isOver && isLast));
      bytes += Math.max(1, used);
      if (read.isEnd && used === read.data.length) {
        at.segment += 1;
        at.offset = 0;
      } else if (isOver || used === 0) return;
    }
  }

  #take(file: LogFile, at: Followed, step: string, data: Buffer, isEnd: boolean): number {
    const { segment, offset, redactor } = at;
    const redact = (line: string) => redacted(redactor?.redact(line) ?? line, this.#words);
    const { lines, used, open } = splitLines(data, {
      open: at.open,
      ...{ isEnd, linesMax: LINES_MAX, redact },
    });
    at.open = open;
    at.offset += used;
    const { identity, handle: copy } = file;
    const now = this.#deps.clock.now();
    const said = lines.map(({ text, cutBytes, end }) => {
      const place = [identity, segment, offset + end] as const;
      return { at: now, copy, text, cutBytes, place };
    });
    if (said.length > 0) this.#deps.outputs.write(this.#key, step, said);
    return used;
  }

  /** To the last of it: it prints faster than anybody reads. */
  #skip(file: LogFile, at: Followed, step: string): void {
    const offset = Math.max(0, file.bytes - READ_BYTES);
    const isAhead = at.segment < file.segment || at.offset < offset;
    if (!isAhead) return;
    const lost = at.segment === file.segment ? `${offset - at.offset} bytes` : "some";
    Object.assign(at, { segment: file.segment, offset, open: undefined });
    this.#note(step, `${lost} of its output are missing here: it came too fast`);
  }

  /** Undefined where its secrets are not known any more, so that nothing of it can be shown. */
  #followedOf(driver: Driver, file: LogFile, step: string): Followed | undefined {
    const known = this.#followed.get(file.identity);
    const at = known ?? { segment: 1, offset: 0, open: undefined, redactor: undefined };
    // Kept for what is printed in the last moments, when the secrets are gone.
    at.redactor = driver.redactor(file, this.#deps.context) ?? at.redactor;
    if (at.redactor === undefined && !this.#taught.has(step)) return undefined;
    this.#followed.set(file.identity, at);
    return at;
  }

  #note(step: string, text: string): void {
    this.#write(step, `[holdfast: ${text}]`, 0);
  }

  #say(step: string, text: string): void {
    const safe = escapeLine(redacted(text, this.#words));
    const kept = safe.slice(0, LINE_CHARS_MAX).toWellFormed();
    this.#write(step, kept, safe.length - kept.length);
  }

  #write(step: string, text: string, cutBytes: number): void {
    const at = this.#deps.clock.now();
    this.#deps.outputs.write(this.#key, step, [{ at, copy: "", text, cutBytes }]);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#deps.log.debug({ error: causeChain(error) }, "the output of a step was not read");
  }
}
