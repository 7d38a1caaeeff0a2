/*
 * Runs one pack inside a Node.js child, and keeps the module contract: the bundle is evaluated as CommonJS with
 * exports, require, module, __filename, __dirname, context and args in scope; the entry point is
 * module.exports[entrypoint], else module.exports.default; it is called with (context, ...args).
 *
 * Descriptor 3 is a socket to the supervisor, JSON lines both ways. We say `called` when the entry point was called and
 * `failed` with a reason before a failing exit; we hear `shutdown`. A promise that the entry point returned ends the
 * container when it settles; after any other value the program lives as long as Node.js has something to do.
 */
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const vm = require('node:vm');
const Module = require('node:module');
const { pathToFileURL } = require('node:url');

const EXIT_LOAD_FAILED = 65;
const EXIT_DEADLINE = 124;
const EXIT_TERMINATED = 143;
const CONTROL_FD = 3;
const MESSAGE_MAX = 4000;

const settings = JSON.parse(process.env.STARK_HARNESS);
delete process.env.STARK_HARNESS;

const handlers = [];
let stopsAt = 0;
let called = false;
let hasFailed = false;

function tell(message) {
  try {
    fs.writeSync(CONTROL_FD, JSON.stringify(message) + '\n');
  } catch {
    // The supervisor is gone, and so shall we be in a moment.
  }
}

function describe(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, MESSAGE_MAX);
}

function report(reason, error) {
  console.error(error instanceof Error && error.stack ? error.stack : error);
  tell({ type: 'failed', reason, message: describe(error) });
}

function fail(reason, error, code) {
  report(reason, error);
  process.exit(code);
}

const lifecycle = {
  phase: 'initializing',
  isShuttingDown: false,
  shutdownReason: undefined,
  shutdownRequestedAt: undefined,
  get gracefulShutdownRemainingMs() {
    return this.isShuttingDown ? Math.max(0, stopsAt - Date.now()) : undefined;
  },
};

const context = {
  ...settings.context,
  env: { ...process.env },
  lifecycle,
  onShutdown(handler) {
    if (typeof handler !== 'function') throw new TypeError('onShutdown needs a function');
    handlers.push(handler);
  },
};

async function shutDown(request) {
  if (lifecycle.isShuttingDown) return;
  lifecycle.phase = 'stopping';
  lifecycle.isShuttingDown = true;
  lifecycle.shutdownReason = request.reason;
  lifecycle.shutdownRequestedAt = new Date();
  stopsAt = Date.now() + request.graceMs;
  const late = request.reason === 'DeadlineExceeded';
  if (handlers.length === 0 && !late && process.emit('SIGTERM', 'SIGTERM')) return; // the pack has its own way to stop
  let code = handlers.length === 0 ? EXIT_TERMINATED : 0;
  for (const handler of [...handlers].reverse()) {
    try {
      await handler(request.reason);
    } catch (error) {
      console.error('shutdown handler failed:', error);
      code = 1;
    }
  }
  lifecycle.phase = 'terminated';
  process.exit(late ? EXIT_DEADLINE : hasFailed ? 1 : code);
}

function listen() {
  const control = new net.Socket({ fd: CONTROL_FD, readable: true, writable: false });
  let rest = '';
  control.setEncoding('utf8');
  control.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.type === 'shutdown') shutDown(message);
    }
  });
  control.on('error', () => process.exit(EXIT_TERMINATED));
  control.on('close', () => process.exit(EXIT_TERMINATED)); // the supervisor died: nobody owns us any more
  return control;
}

/** A module is known by its file's suffix: a copy has it, for as long as it takes to load it. */
async function loadModule() {
  const name = `bundle-${settings.context.executionId}.mjs`; // containers may share a working directory
  for (const folder of [process.cwd(), os.tmpdir()]) {
    const file = path.join(folder, name);
    try {
      fs.copyFileSync(settings.bundle, file);
    } catch (error) {
      if (folder === os.tmpdir()) throw error;
      continue; // a working directory in which nothing can be written
    }
    try {
      return await import(pathToFileURL(file).href);
    } finally {
      fs.rmSync(file, { force: true });
    }
  }
}

function isModuleSyntax(error) {
  return (
    error instanceof SyntaxError &&
    /Cannot use import statement outside a module|Unexpected token 'export'|Cannot use 'import.meta'|await is only valid/.test(
      error.message,
    )
  );
}

function load() {
  const filename = path.join(process.cwd(), 'bundle.js');
  const source = fs.readFileSync(settings.bundle, 'utf8').replace(/^\uFEFF/, '').replace(/^#!.*/, '');
  const names = ['exports', 'require', 'module', '__filename', '__dirname', 'context', 'args'];
  const importModuleDynamically = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  let body;
  try {
    body = vm.compileFunction(source, names, { filename, importModuleDynamically });
  } catch (error) {
    if (isModuleSyntax(error)) return loadModule();
    throw error;
  }
  const module = new Module(filename, null);
  module.filename = filename;
  module.paths = Module._nodeModulePaths(path.dirname(filename));
  const values = [module.exports, Module.createRequire(filename), module, filename, path.dirname(filename)];
  body.apply(module.exports, [...values, context, settings.args]);
  module.loaded = true;
  return module.exports;
}

async function main() {
  let entry;
  try {
    const exported = await load();
    entry = exported?.[settings.entrypoint] ?? exported?.default;
    if (typeof entry !== 'function') {
      throw new TypeError(`the bundle exports no function '${settings.entrypoint}' and no function 'default'`);
    }
  } catch (error) {
    fail('PackLoadError', error, EXIT_LOAD_FAILED);
  }
  lifecycle.phase = 'running';
  const control = listen();
  let result;
  called = true;
  tell({ type: 'called' }); // before the call: an entry point may keep the thread to itself
  try {
    result = entry(context, ...settings.args);
  } catch (error) {
    fail('Error', error, 1);
  }
  if (typeof result?.then !== 'function') {
    control.unref();
    return;
  }
  // A pending promise alone would not keep Node.js alive; the control channel does.
  try {
    await result;
  } catch (error) {
    if (!lifecycle.isShuttingDown || handlers.length === 0) fail('Error', error, 1);
    hasFailed = true;
    report('Error', error);
  }
  if (lifecycle.isShuttingDown) return; // the handlers end it
  lifecycle.phase = 'terminated';
  process.exit();
}

process.on('exit', (code) => {
  if (!called && code === 0) process.exitCode = EXIT_LOAD_FAILED; // a load that never settles is no success
});

main();
