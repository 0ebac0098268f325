/** What the bench says to the servers and watchers that it starts, and what they answer. Times are wall-clock ms. */

export type ToServer =
  | Readonly<{ type: "measure" }>
  /** Something different for each of those who are connected. */
  | Readonly<{ type: "change"; round: number }>;

export type FromServer =
  | Readonly<{ type: "listening"; port: number }>
  | Readonly<{ type: "measured"; rssBytes: number; cpuMs: number; connected: number }>
  /** `calledAt`: the change began; `committedAt`: it could be seen. */
  | Readonly<{ type: "changed"; calledAt: number; committedAt: number }>;

export type WatchOrder = Readonly<{
  server: "bare" | "etcd";
  port: number;
  /** Numbers of the watchers; each has a connection and a key of its own. */
  from: number;
  count: number;
  /** PEM. */
  ca: string;
  certificate: string;
  key: string;
}>;

export type ToWatcher = Readonly<{ type: "watch"; order: WatchOrder }> | Readonly<{ type: "stop" }>;

export type FromWatcher =
  | Readonly<{ type: "up"; watcher: number; at: number }>
  | Readonly<{ type: "down"; watcher: number; at: number }>
  | Readonly<{ type: "received"; watcher: number; digest: string; at: number }>;

export const wallMs = () => performance.timeOrigin + performance.now();
