#!/bin/sh
# Talks to msglogd with socat: a thousand writes sent ahead on one connection, all on disk at the end.
set -eu

. "$(dirname "$0")/find-socket.sh"

# A name that nobody can guess, gone however this ends.
replies=$(mktemp)
trap 'rm -f "$replies"' EXIT
trap 'exit 1' HUP INT TERM

# -t: how long to wait for the last replies once the input has ended.
talk() { socat -t 30 - "UNIX-CONNECT:$socket"; }

number=0
while [ "$number" -lt 1000 ]; do
    printf '{"cmd":"kv.set","key":"example/socat/%s","value":%s}\n' "$number" "$number"
    number=$((number + 1))
done | talk >"$replies" || true
# grep ends with 1 where it finds nothing, and still prints 0.
stored=$(grep -c '^{"ok":true' "$replies" || true)
echo "stored $stored of 1000"
if [ "$stored" -lt 1000 ]; then
    # Whom the daemon does not let in it tells so unasked; socat may have failed at a request before it read that.
    echo "refused: $(grep -v -m 1 '^{"ok":true' "$replies" || talk </dev/null | grep . || echo 'no reply came')" >&2
    exit 1
fi
printf '{"cmd":"kv.list","prefix":"example/socat/99","limit":3}\n' | talk
