// A pack without a port: an endless asynchronous loop that says so once a second until it is asked to stop.
'use strict';

const { setTimeout: pause } = require('node:timers/promises');

module.exports.default = async function loop(context) {
  const stop = new AbortController();
  context.onShutdown(() => stop.abort());
  for (let turn = 1; !stop.signal.aborted; turn += 1) {
    console.log(`turn ${turn}`);
    await pause(1000, undefined, { signal: stop.signal }).catch(() => {});
  }
};
