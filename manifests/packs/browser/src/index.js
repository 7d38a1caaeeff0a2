// Runs in a worker of a browser that is a node: it finds out how quick the machine is, every ten seconds.
export default async function main(context) {
  let running = true;
  let wake = () => {};
  context.onShutdown(() => {
    running = false;
    wake();
  });
  console.log(`${context.packName} ${context.packVersion} on ${navigator.hardwareConcurrency} cores`);
  const block = new Uint8Array(1 << 20);
  while (running) {
    const began = performance.now();
    for (let round = 0; round < 16; round += 1) await crypto.subtle.digest('SHA-256', block);
    console.log(`SHA-256: ${Math.round(16_000 / (performance.now() - began))} MiB/s`);
    await new Promise((later) => {
      wake = later;
      setTimeout(later, 10_000);
    });
  }
}
