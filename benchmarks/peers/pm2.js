// Obeys commands, one line of JSON each: what PM2's own programming interface does, and how long it took.
'use strict';

const pm2 = require(process.argv[2]);
const call = (name, ...given) =>
  new Promise((ok, no) => pm2[name](...given, (error, result) => (error ? no(error) : ok(result))));

async function obey({ start, stop, online }) {
  const begun = process.hrtime.bigint();
  if (start) await Promise.all(start.map((app) => call('start', app)));
  if (stop) await call('delete', stop);
  if (online) {
    for (;;) {
      const apps = await call('list');
      if (apps.filter((app) => app.pm2_env.status === 'online').length >= online) break;
    }
  }
  return Number(process.hrtime.bigint() - begun) / 1e6;
}

(async () => {
  await call('connect');
  console.log(0);
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    console.log(await obey(JSON.parse(line)));
  }
  await call('killDaemon');
  process.exit(0);
})();
