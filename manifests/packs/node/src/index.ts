import { createServer } from 'node:http';

/** What a pack is given when it is called: the part of it that is used here. */
interface Context {
  packName: string;
  packVersion: string;
  onShutdown(handler: (reason: string) => void | Promise<void>): void;
}

/** Called once; the container ends when the promise resolves. */
export default async function main(context: Context): Promise<void> {
  const server = createServer((request, response) => {
    if (request.url !== '/healthz') console.log(request.method, request.url);
    response.end(`hello from ${context.packName} ${context.packVersion}\n`);
  });
  await new Promise<void>((listening) => server.listen(Number(process.env.PORT ?? 8080), listening));
  console.log('listening');
  await new Promise<void>((stopped) => {
    context.onShutdown((reason) => {
      console.log('stopping:', reason);
      server.close(() => stopped());
      server.closeAllConnections();
    });
  });
}
