/** One run of a container: a sandboxed frame of an origin of its own, with a worker or a page in it, that ends when it is told to. */
import harness from './harness/harness.ts?script';
import type { FromRun, RunSettings } from './protocol';

export interface End { code: number; reason: string; message: string }
export interface Listener {
  called(): void;
  said(at: number, text: string): void;
  ended(end: End): void;
}

const KILLED = 137;
const DEADLINE = 124;
const DEADLINE_GRACE_MS = 5_000;
const LOAD_MS = 30_000;

export class Run {
  readonly frame = document.createElement('iframe');
  #port: MessagePort | undefined;
  #end: End | undefined;
  #failed: { reason: string; message: string } | undefined;
  #timers: number[] = [];
  #isLate = false;

  constructor(settings: RunSettings, dom: boolean, timeoutMs: number | undefined, place: Element, readonly listener: Listener) {
    const { frame } = this;
    frame.sandbox.add('allow-scripts');
    frame.title = `pack ${String(settings.context.packName)}`;
    frame.onload = () => {
      frame.onload = () => this.#over({ code: 1, reason: 'Error', message: 'the pack left its page' });
      const { port1, port2 } = new MessageChannel();
      this.#port = port1;
      port1.onmessage = (event: MessageEvent<FromRun>) => this.#heard(event.data);
      frame.contentWindow!.postMessage({ dom, harness }, '*', [port2]);
      port1.postMessage({ type: 'start', settings });
    };
    frame.src = '/agent/sandbox.html';
    place.append(frame);
    this.#after(LOAD_MS, () => this.#port ?? this.#over({ code: 1, reason: 'StartError', message: 'the sandbox did not load' }));
    if (timeoutMs !== undefined) this.#after(timeoutMs, () => this.#expire());
  }

  /** Ask it to end; after the grace it is ended. */
  stop(reason: string, graceMs: number): void {
    if (graceMs <= 0 || !this.#port) return this.kill('the pod is being deleted');
    this.#port.postMessage({ type: 'shutdown', reason, graceMs });
    this.#after(graceMs, () => this.kill('it did not stop in time'));
  }

  kill(message: string): void {
    this.#over({ code: this.#isLate ? DEADLINE : KILLED, reason: this.#isLate ? 'DeadlineExceeded' : 'Error', message });
  }

  #expire(): void {
    this.#isLate = true;
    this.stop('DeadlineExceeded', DEADLINE_GRACE_MS);
  }

  #after(ms: number, act: () => void): void {
    this.#timers.push(setTimeout(act, Math.min(ms, 2 ** 31 - 1)));
  }

  #heard(message: FromRun): void {
    if (this.#end) return;
    if (message.type === 'called') this.listener.called();
    else if (message.type === 'log') this.listener.said(Number(message.at), String(message.text));
    else if (message.type === 'failed') this.#failed = { reason: String(message.reason), message: String(message.message) };
    else this.#over(this.#conclusion(Number(message.code)));
  }

  #conclusion(code: number): End {
    if (this.#isLate) return { code: DEADLINE, reason: 'DeadlineExceeded', message: 'the run took longer than its pack allows' };
    if (code === 0) return { code, reason: 'Completed', message: '' };
    return { code, reason: this.#failed?.reason ?? 'Error', message: this.#failed?.message ?? '' };
  }

  #over(end: End): void {
    if (this.#end) return;
    this.#end = end;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#port?.close();
    this.frame.onload = null;
    this.frame.remove(); // and with it whatever still runs in it
    this.listener.ended(end);
  }
}
