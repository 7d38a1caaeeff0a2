/** What a run says: shown on the page, and pushed to the server, which keeps it for `kubectl logs`. */
import { type Api, ApiError } from './api';
import type { Pod } from './kinds';
import { Backoff, sleep } from './waiting';

const WAITING_MAX = 10_000; // lines while the server is away; past that the oldest are lost, and the log says so
const WAITING_BYTES_MAX = 16 * 1024 * 1024; // of such lines, as they are sent
const PUSH_LINES = 500;
const PUSH_BYTES = 512 * 1024; // of the lines of one push: the server takes twice that
const SHOWN_MAX = 200;
const GATHER_MS = 200;
const TEXT_MAX = 16_000;

type Line = [number, string, string];

const encoder = new TextEncoder();
const bytesOf = (line: Line): number => encoder.encode(JSON.stringify(line)).length;

export class Log {
  readonly shown: string[] = [];
  #waiting: Line[] = [];
  #bytes = 0;
  #number = 0;
  #dropped = 0;
  #ended = false;
  #isPushing = false;

  constructor(readonly api: Api, readonly pod: Pod, readonly container: string, readonly attempt: number, readonly changed: () => void) {}

  say(at: number, text: string): void {
    for (const line of text.split('\n')) {
      this.#number += 1;
      const entry: Line = [this.#number, new Date(at).toISOString(), line.slice(0, TEXT_MAX)];
      this.#waiting.push(entry);
      this.#bytes += bytesOf(entry);
      while (this.#waiting.length > WAITING_MAX || this.#bytes > WAITING_BYTES_MAX) {
        this.#forgetFirst();
        this.#dropped += 1;
      }
      this.shown.push(line.slice(0, 2_000));
    }
    if (this.shown.length > SHOWN_MAX) this.shown.splice(0, this.shown.length - SHOWN_MAX);
    this.changed();
    void this.#push();
  }

  end(): void {
    this.#ended = true;
    void this.#push();
  }

  /** Return when everything has been pushed, or cannot be. */
  async pushed(): Promise<void> {
    while (this.#isPushing) await sleep(20);
  }

  async #push(): Promise<void> {
    if (this.#isPushing) return;
    this.#isPushing = true;
    const backoff = new Backoff(10_000);
    const { namespace, name, uid } = this.pod.metadata;
    let told = false;
    while (this.#waiting.length > 0 || (this.#ended && !told)) {
      await sleep(GATHER_MS);
      if (this.#dropped > 0) {
        const first = this.#waiting[0]!;
        this.#bytes -= bytesOf(first);
        first[2] = `[${this.#dropped} lines before this one were lost: the server was away, or could not take them as fast] ${first[2]}`;
        this.#bytes += bytesOf(first);
        this.#dropped = 0;
      }
      const lines = this.#batch();
      const ended = this.#ended && lines.length === this.#waiting.length;
      try {
        const body = { uid, container: this.container, attempt: this.attempt, lines, ended };
        await this.api.json('POST', `/api/v1/namespaces/${namespace}/pods/${name}/log`, body);
      } catch (error) {
        // Whoever is refused for good has nobody left to tell it to; a life that is over may begin again.
        if (error instanceof ApiError && [400, 403, 404, 422].includes(error.status)) break;
        await sleep(backoff.next());
        continue;
      }
      backoff.reset();
      told = ended;
      const last = lines.at(-1)?.[0] ?? 0;
      while (this.#waiting.length > 0 && this.#waiting[0]![0] <= last) this.#forgetFirst();
    }
    this.#isPushing = false;
  }

  /** The first lines that wait, no more than one push may hold. */
  #batch(): Line[] {
    let bytes = 0;
    let count = 0;
    for (const line of this.#waiting.slice(0, PUSH_LINES)) {
      bytes += bytesOf(line);
      if (count > 0 && bytes > PUSH_BYTES) break;
      count += 1;
    }
    return this.#waiting.slice(0, count);
  }

  #forgetFirst(): void {
    this.#bytes -= bytesOf(this.#waiting.shift()!);
  }
}
