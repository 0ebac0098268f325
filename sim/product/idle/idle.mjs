/** The workload of the simulator's product: is there until it is told to end. */
setInterval(() => undefined, 60_000);
