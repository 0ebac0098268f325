#!/bin/sh
# Starts the bundle beside it, also through symbolic links: on the Node beside it if there is one, else on that in PATH.
self=$(readlink -f "$0")
here=${self%/*}
node=$here/node
[ -x "$node" ] || node=node
# systemd names a folder that is the service's own (CacheDirectory=).
if [ -n "${CACHE_DIRECTORY-}" ]; then
  NODE_COMPILE_CACHE=$CACHE_DIRECTORY/compiled
  export NODE_COMPILE_CACHE
fi
entry=$here/agent.mjs
. "$here/start.sh"
