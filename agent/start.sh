#!/bin/sh
# Becomes the agent; sourced with $node and $entry by all that start it (the checkout's holdfast-agent, the bundle's).
# What makes it lean is said here alone, and none of it reaches a workload, whose environment the agent puts together:
# - a young generation of 1 MiB, and one arena for native memory: bursts keep nothing behind (together 12 MiB);
# - no TurboFan: an agent at rest pays for its code in memory (6 MiB) and seldom runs any of it long enough to gain;
# - a cache of compiled code, where the caller names a folder for it that nobody else can write to.
MALLOC_ARENA_MAX=1
export MALLOC_ARENA_MAX
exec "$node" --max-semi-space-size=1 --no-turbofan "$entry" "$@"
