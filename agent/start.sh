#!/bin/sh
# Becomes the agent; sourced with $node and $entry by all that start it (the checkout's holdfast-agent, the bundle's).
# What makes it lean is said here alone, and none of it reaches a workload, whose environment the agent puts together:
# - a young generation of 1 MiB, and one arena for native memory: bursts keep nothing behind (together 12 MiB);
# - no optimizing compilers: an agent at rest pays for them in memory (9 MiB); what stays hot runs at a third of the speed;
# - one thread beside its own for compiling and collecting, not four;
# - garbage that a start leaves behind is collected once it is over (--expose-gc), rather than when the heap has grown;
# - a cache of compiled code, where the caller names a folder for it that nobody else can write to.
MALLOC_ARENA_MAX=1
export MALLOC_ARENA_MAX
exec "$node" --max-semi-space-size=1 --no-turbofan --no-maglev --v8-pool-size=1 --expose-gc "$entry" "$@"
