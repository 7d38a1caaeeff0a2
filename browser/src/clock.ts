/** The worker behind `sleep`. */
addEventListener('message', (event: MessageEvent<[number, number]>) => {
  setTimeout(() => postMessage(event.data[0]), event.data[1]);
});
export {};
