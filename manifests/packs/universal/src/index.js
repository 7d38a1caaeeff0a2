// Runs in Node.js and in browsers alike: nothing here is of one of them.
export default async function main(context) {
  let running = true;
  context.onShutdown((reason) => {
    console.log('stopping:', reason);
    running = false;
  });
  for (let tick = 1; running; tick += 1) {
    console.log(`${context.packName} ${context.packVersion}: tick ${tick}`);
    await new Promise((later) => setTimeout(later, 1000));
  }
}
