/*
 * The module contract (docs/packs.md), checked from inside: one universal CommonJS script, run unchanged by every runtime
 * that runs JavaScript, on a server and in a browser. It uses nothing that only one of them has.
 *
 * Each check is one line of JSON on standard output, {"check": what is claimed, "ok": true or false, "found": what was
 * seen when it is false}; the last line is {"passed": n, "failed": n}. The first argument says what to do:
 *
 *   (none)          check the contract, and end: resolved when all held, rejected when one did not
 *   shutdown        say {"waiting": true}, wait to be stopped, check what the handlers see, and end with their success
 *   shutdown-fails  the same with a handler that throws: the others are still called, and the end is a failure
 *   stubborn        say {"waiting": true} and never end, whatever is asked
 *   reject, throw   fail, asynchronously or at once
 *   streams         write a line with each of console's methods
 */
'use strict';

const scope = {
  exports: typeof exports,
  module: typeof module,
  require: typeof require,
  filename: typeof __filename,
  dirname: typeof __dirname,
  context: typeof context,
  args: Array.isArray(args),
};
const exportsAtFirst = module.exports === exports;
const phaseAtFirst = context.lifecycle.phase;
const contextAtFirst = context;
const argsAtFirst = args;
const marked = globalThis.starkConformanceRan === true;
globalThis.starkConformanceRan = true;

let passed = 0;
let failed = 0;

function check(claim, ok, found) {
  if (ok) passed += 1;
  else failed += 1;
  console.log(JSON.stringify(ok ? { check: claim, ok: true } : { check: claim, ok: false, found: String(found) }));
}

function same(claim, found, expected) {
  const seen = JSON.stringify(found);
  check(claim, seen === JSON.stringify(expected), seen);
}

function summary() {
  console.log(JSON.stringify({ passed, failed }));
}

const nothing = (value) => value === undefined || value === null;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function refusal(act) {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

// -- what holds at any time ---------------------------------------------------------------------------------------

function checkScope(given, rest) {
  same('everything is in scope while the bundle is evaluated', scope, {
    exports: 'object',
    module: 'object',
    require: 'function',
    filename: 'string',
    dirname: 'string',
    context: 'object',
    args: true,
  });
  check('exports is module.exports', exportsAtFirst, exportsAtFirst);
  check('the file has a name, and is in its folder', __filename.startsWith(__dirname) && __filename !== '', __filename);
  check('the context in scope is the one of the call', given === contextAtFirst, typeof given);
  same('the arguments of the call are the ones in scope', rest, argsAtFirst);
  check('every argument is a string', rest.every((one) => typeof one === 'string'), JSON.stringify(rest));
  const error = refusal(() => require('stark-has-no-such-module'));
  check('a module that is not there is named by the refusal', /stark-has-no-such-module/.test(error?.message), error);
  check('a run begins with globals of its own', !marked, 'left over from another run');
}

function checkContext(given) {
  for (const field of ['executionId', 'podId', 'packId', 'packName', 'packVersion', 'runtimeTag']) {
    const value = given[field];
    check(`context.${field} is told`, typeof value === 'string' && value !== '', value);
  }
  const { timeout, metadata, env } = given;
  check('context.timeout is milliseconds or nothing', nothing(timeout) || timeout > 0, timeout);
  check('context.metadata is an object', typeof metadata === 'object' && metadata !== null, metadata);
  const texts = Object.values(env).every((value) => typeof value === 'string');
  check('context.env has texts', texts, JSON.stringify(env));
  same('what the runtime tells itself is not in context.env', 'STARK_HARNESS' in env, false);
}

function checkEnvironment(given) {
  const pairs = {
    STARK_POD_ID: 'podId',
    STARK_PACK_ID: 'packId',
    STARK_PACK_VERSION: 'packVersion',
    STARK_EXECUTION_ID: 'executionId',
  };
  for (const [name, field] of Object.entries(pairs)) same(`${name} is context.${field}`, given.env[name], given[field]);
}

function checkLifecycle(given) {
  const { lifecycle } = given;
  same('the phase is initializing while the bundle is evaluated', phaseAtFirst, 'initializing');
  same('the phase is running in the call', lifecycle.phase, 'running');
  same('nobody has asked to stop', lifecycle.isShuttingDown, false);
  check('there is no reason to stop yet', nothing(lifecycle.shutdownReason), lifecycle.shutdownReason);
  check('nor a time', nothing(lifecycle.shutdownRequestedAt), lifecycle.shutdownRequestedAt);
  const left = lifecycle.gracefulShutdownRemainingMs;
  check('nor a grace that runs out', nothing(left), left);
  check('onShutdown takes functions only', refusal(() => given.onShutdown('no')) instanceof TypeError, 'it took a text');
}

async function checkSurroundings() {
  const order = [];
  setTimeout(() => order.push('timer'), 0);
  queueMicrotask(() => order.push('microtask'));
  order.push('now');
  await pause(20);
  same('microtasks come before timers', order, ['now', 'microtask', 'timer']);
  for (const name of ['URL', 'URLSearchParams', 'TextEncoder', 'TextDecoder', 'AbortController', 'Event', 'EventTarget']) {
    check(`${name} is there`, typeof globalThis[name] === 'function', typeof globalThis[name]);
  }
  for (const name of ['fetch', 'structuredClone', 'atob', 'btoa', 'setInterval', 'clearTimeout']) {
    check(`${name} is there`, typeof globalThis[name] === 'function', typeof globalThis[name]);
  }
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(32));
  check('random bytes are random', new Set(bytes).size > 4, Array.from(bytes));
  const text = new TextDecoder().decode(new TextEncoder().encode('gr\u00fc\u00dfe \u{1f331}'));
  same('text survives its encoding', text, 'gr\u00fc\u00dfe \u{1f331}');
  const began = performance.now();
  await pause(5);
  check('the clock goes on', performance.now() > began, began);
}

async function checkAll(given, rest) {
  checkScope(given, rest);
  checkContext(given);
  checkEnvironment(given);
  checkLifecycle(given);
  await checkSurroundings();
  summary();
  if (failed > 0) throw new Error(`${failed} checks failed`);
}

// -- being stopped ------------------------------------------------------------------------------------------------

/** Three handlers: they are called newest first, each when the one before it has finished. */
function waitForStop(given, fails) {
  const { lifecycle } = given;
  const calls = [];
  let graceAtFirst = 0;
  let released;
  const end = new Promise((done) => {
    released = done;
  });
  given.onShutdown((reason) => {
    calls.push('first');
    same('handlers are called newest first, one after the other', calls, ['third', 'second', 'second done', 'first']);
    same('each is told the reason', reason, lifecycle.shutdownReason);
    check('the grace runs out', lifecycle.gracefulShutdownRemainingMs <= graceAtFirst - 30, graceAtFirst);
    summary();
  });
  given.onShutdown(async () => {
    calls.push('second');
    await pause(60);
    calls.push('second done');
  });
  given.onShutdown((reason) => {
    calls.push('third');
    graceAtFirst = lifecycle.gracefulShutdownRemainingMs;
    same('the phase is stopping', lifecycle.phase, 'stopping');
    same('it is shutting down', lifecycle.isShuttingDown, true);
    check('there is a reason', typeof reason === 'string' && reason !== '', reason);
    check('there is a time', lifecycle.shutdownRequestedAt instanceof Date, lifecycle.shutdownRequestedAt);
    check('there is a grace', graceAtFirst > 0, graceAtFirst);
    released(); // the entry point ends now; the handlers that are left decide when the run does
    if (fails) throw new Error('this handler was told to fail');
  });
  console.log(JSON.stringify({ waiting: true }));
  return end;
}

function streams() {
  for (const method of ['log', 'info', 'debug', 'warn', 'error']) console[method](`by ${method}`);
  console.log('text', 7, { key: ['value'] });
}

module.exports.default = function (given, ...rest) {
  switch (rest[0]) {
    case undefined:
      return checkAll(given, rest);
    case 'shutdown':
      return waitForStop(given, false);
    case 'shutdown-fails':
      return waitForStop(given, true);
    case 'stubborn':
      given.onShutdown(() => new Promise(() => {}));
      console.log(JSON.stringify({ waiting: true }));
      return new Promise(() => {});
    case 'reject':
      return Promise.reject(new Error('told to fail'));
    case 'throw':
      throw new Error('told to fail at once');
    case 'streams':
      return streams();
    default:
      return checkAll(given, rest);
  }
};

/** The pack's entry point may have another name. */
module.exports.named = async function (given) {
  check('an entry point is found by its name', given === contextAtFirst, typeof given);
  summary();
};
