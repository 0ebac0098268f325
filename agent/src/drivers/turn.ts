/**
 * Before a wait is called too long: where this process itself was late, the timer that ends the wait comes first, and
 * what was waited for has happened already. One turn of the event loop hears of it.
 */
export function eventsHeard(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
