// The smallest useful pack: an HTTP server that says who it is, and stops when it is asked to.
'use strict';

const http = require('node:http');

module.exports.default = async function hello(context) {
  const port = Number(process.env.PORT || 8080);
  const answer = {
    message: `hello from ${context.packName} ${context.packVersion}`,
    pod: process.env.HOSTNAME,
    runtime: `node ${process.versions.node}`,
  };
  const server = http.createServer((request, response) => {
    if (request.url === '/healthz') return response.end('ok\n');
    console.log(`${request.method} ${request.url}`);
    response.setHeader('Content-Type', 'application/json');
    response.end(`${JSON.stringify(answer)}\n`);
  });
  await new Promise((listening, failed) => server.once('error', failed).listen(port, listening));
  console.log(`listening on port ${port}`);

  // The container ends when this promise resolves.
  await new Promise((stopped) => {
    context.onShutdown(() => {
      console.log(`stopping: ${context.lifecycle.shutdownReason}`);
      server.closeAllConnections();
      server.close(stopped);
    });
  });
};
