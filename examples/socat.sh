#!/bin/sh
# Talks to msglogd with socat: a thousand writes sent ahead on one connection, all on disk at the end.
set -eu

. "$(dirname "$0")/find-socket.sh"

# -t: how long to wait for the last replies once the input has ended.
talk() { socat -t 30 - "UNIX-CONNECT:$socket"; }

number=0
while [ "$number" -lt 1000 ]; do
    printf '{"cmd":"kv.set","key":"example/socat/%s","value":%s}\n' "$number" "$number"
    number=$((number + 1))
done | talk >"${TMPDIR:-/tmp}/socat.$$"
stored=$(grep -c '^{"ok":true' "${TMPDIR:-/tmp}/socat.$$")
rm "${TMPDIR:-/tmp}/socat.$$"

echo "stored $stored of 1000"
printf '{"cmd":"kv.list","prefix":"example/socat/99","limit":3}\n' | talk
