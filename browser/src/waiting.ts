/** Waiting by a worker's clock: a page in the background is woken once a minute at most, and a heartbeat is due every ten seconds. */
let worker: Worker | undefined;
let number = 0;
const waiting = new Map<number, () => void>();

function clock(): Worker {
  if (worker !== undefined) return worker;
  worker = new Worker(new URL('./clock.ts', import.meta.url), { type: 'module' });
  worker.onmessage = (event: MessageEvent<number>) => {
    waiting.get(event.data)?.();
    waiting.delete(event.data);
  };
  return worker;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => {
    number += 1;
    waiting.set(number, done);
    clock().postMessage([number, Math.min(ms, 2 ** 31 - 1)]);
  });
}

/** Doubled from half a second up to a ceiling, with some chance in it, so that nodes do not come back all at once. */
export class Backoff {
  #next = 500;
  constructor(readonly maxMs: number) {}
  next(): number {
    const ms = this.#next * (0.75 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, this.maxMs);
    return ms;
  }
  reset(): void {
    this.#next = 500;
  }
}
