/**
 * Runs one pack inside a worker, or a page of its own, and keeps the module contract exactly as the agent's Node.js harness
 * does: the bundle is evaluated as CommonJS with exports, require, module, __filename, __dirname, context and args in scope;
 * the entry point is module.exports[entrypoint], else module.exports.default, called with (context, ...args).
 */
import type { FromRun, RunSettings, ToRun } from '../protocol';
import { format, inspect } from './inspect';
import { Buffer, EventEmitter, require } from './modules';

const EXIT_LOAD_FAILED = 65;
const EXIT_DEADLINE = 124;
const EXIT_TERMINATED = 143;
const MESSAGE_MAX = 4000;
const IDLE_LOOK_MS = 100;

type Handler = (reason: string) => unknown;
type Entry = (...given: unknown[]) => unknown;

function run(port: MessagePort): void {
  const tell = port.postMessage.bind(port) as (message: FromRun) => void;
  const handlers: Handler[] = [];
  const pending = watchWork();
  const now = Date.now;
  let stopsAt = 0;
  let hasFailed = false;
  let isOver = false;

  function exit(code: number): void {
    if (isOver) return;
    isOver = true;
    tell({ type: 'exit', code });
  }

  function report(reason: string, error: unknown): void {
    tell({ type: 'log', at: now(), text: error instanceof Error && error.stack ? error.stack : inspect(error) });
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    tell({ type: 'failed', reason, message: text.slice(0, MESSAGE_MAX) });
  }

  function fail(reason: string, error: unknown, code: number): void {
    if (isOver) return;
    report(reason, error);
    exit(code);
  }

  for (const method of ['log', 'info', 'debug', 'warn', 'error', 'trace'] as const) {
    console[method] = (...given: unknown[]) => tell({ type: 'log', at: now(), text: format(...given) });
  }

  const process = Object.assign(new EventEmitter(), {
    env: {} as Record<string, string>,
    argv: [] as string[],
    platform: 'browser',
    versions: {},
    cwd: () => '/',
    nextTick: (act: Entry, ...given: unknown[]) => queueMicrotask(() => act(...given)),
    exit,
  });

  const lifecycle = {
    phase: 'initializing',
    isShuttingDown: false,
    shutdownReason: undefined as string | undefined,
    shutdownRequestedAt: undefined as Date | undefined,
    get gracefulShutdownRemainingMs(): number | undefined {
      return this.isShuttingDown ? Math.max(0, stopsAt - now()) : undefined;
    },
  };

  async function shutDown(reason: string, graceMs: number): Promise<void> {
    if (lifecycle.isShuttingDown) return;
    lifecycle.phase = 'stopping';
    lifecycle.isShuttingDown = true;
    lifecycle.shutdownReason = reason;
    lifecycle.shutdownRequestedAt = new Date();
    stopsAt = now() + graceMs;
    const late = reason === 'DeadlineExceeded';
    if (handlers.length === 0 && !late && process.emit('SIGTERM', 'SIGTERM')) return; // the pack has its own way to stop
    let code = handlers.length === 0 ? EXIT_TERMINATED : 0;
    for (const handler of [...handlers].reverse()) {
      try {
        await handler(reason);
      } catch (error) {
        console.error('shutdown handler failed:', error);
        code = 1;
      }
    }
    lifecycle.phase = 'terminated';
    exit(late ? EXIT_DEADLINE : hasFailed ? 1 : code);
  }

  async function load(settings: RunSettings, context: unknown): Promise<Record<string, unknown>> {
    const source = settings.bundle.replace(/^\uFEFF/, '').replace(/^#!.*/, '');
    const module = { exports: {} as Record<string, unknown>, filename: '/bundle.js', loaded: false };
    const names = ['exports', 'require', 'module', '__filename', '__dirname', 'context', 'args'];
    let body: Entry;
    try {
      body = new Function(...names, `${source}\n//# sourceURL=bundle.js`) as Entry;
    } catch (error) {
      if (!(error instanceof SyntaxError) || !/import statement|token 'export'|import\.meta|await is only valid/.test(error.message)) throw error;
      const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
      return (await import(/* @vite-ignore */ url)) as Record<string, unknown>;
    }
    body.call(module.exports, module.exports, require, module, '/bundle.js', '/', context, settings.args);
    module.loaded = true;
    return module.exports;
  }

  async function start(settings: RunSettings): Promise<void> {
    const context = {
      ...settings.context,
      env: { ...settings.env },
      lifecycle,
      onShutdown(handler: Handler): void {
        if (typeof handler !== 'function') throw new TypeError('onShutdown needs a function');
        handlers.push(handler);
      },
      ...('document' in globalThis ? { root: document.getElementById('root') } : {}),
    };
    Object.assign(process.env, settings.env);
    Object.assign(globalThis, { process, Buffer, global: globalThis });
    let entry: unknown;
    try {
      const exported = await load(settings, context);
      entry = exported?.[settings.entrypoint] ?? exported?.default;
      if (typeof entry !== 'function') {
        throw new TypeError(`the bundle exports no function '${settings.entrypoint}' and no function 'default'`);
      }
    } catch (error) {
      return fail('PackLoadError', error, EXIT_LOAD_FAILED);
    }
    lifecycle.phase = 'running';
    tell({ type: 'called' }); // before the call: an entry point may keep the thread to itself
    await call(entry as Entry, context, settings.args);
  }

  async function call(entry: Entry, context: unknown, args: string[]): Promise<void> {
    let result: unknown;
    try {
      result = entry(context, ...args);
    } catch (error) {
      return fail('Error', error, 1);
    }
    if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') {
      if (!('document' in globalThis)) pending.whenIdle(() => exit(0)); // a page is there to be looked at
      return;
    }
    try {
      await result;
    } catch (error) {
      if (!lifecycle.isShuttingDown || handlers.length === 0) return fail('Error', error, 1);
      hasFailed = true;
      report('Error', error);
    }
    if (lifecycle.isShuttingDown) return; // the handlers end it
    lifecycle.phase = 'terminated';
    exit(0);
  }

  addEventListener('error', (event) => {
    event.preventDefault();
    fail('Error', event.error ?? new Error(event.message), 1);
  });
  addEventListener('unhandledrejection', (event) => {
    event.preventDefault();
    fail('Error', event.reason, 1);
  });
  port.onmessage = (event: MessageEvent<ToRun>) => {
    const message = event.data;
    if (message.type === 'start') void start(message.settings);
    else void shutDown(message.reason, message.graceMs);
  };
}

/** Timers, requests and sockets that are under way: without a promise to wait for, a program lives as long as it has any. */
function watchWork(): { whenIdle(act: () => void): void } {
  const scope = globalThis as unknown as Record<string, (...given: unknown[]) => unknown>;
  const timers = new Set<unknown>();
  const own = { setTimeout: setTimeout.bind(globalThis), setInterval: setInterval.bind(globalThis), fetch: fetch.bind(globalThis) };
  let requests = 0;
  scope.setTimeout = (act, ms, ...given) => {
    const id = own.setTimeout(
      () => {
        timers.delete(id);
        if (typeof act === 'function') act(...given);
      },
      ms as number,
    );
    timers.add(id);
    return id;
  };
  scope.setInterval = (act, ms, ...given) => {
    const id = own.setInterval(act as () => void, ms as number, ...given);
    timers.add(id);
    return id;
  };
  for (const name of ['clearTimeout', 'clearInterval']) {
    const clear = scope[name]!.bind(globalThis);
    scope[name] = (id) => {
      timers.delete(id);
      clear(id);
    };
  }
  scope.fetch = async (...given) => {
    requests += 1;
    try {
      return await own.fetch(...(given as Parameters<typeof fetch>));
    } finally {
      requests -= 1;
    }
  };
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      requests += 1;
      this.addEventListener('close', () => (requests -= 1));
    }
  };
  return {
    whenIdle(act) {
      let quiet = 0;
      const look = own.setInterval(() => {
        quiet = timers.size === 0 && requests === 0 ? quiet + 1 : 0;
        if (quiet < 2) return;
        clearInterval(look);
        act();
      }, IDLE_LOOK_MS);
    },
  };
}

if ('document' in globalThis) Object.assign(globalThis, { starkHarness: run });
else addEventListener('message', (event) => run((event as MessageEvent).ports[0]!), { once: true });
