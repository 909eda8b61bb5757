#!/bin/sh
# Talks to msglogd with socat: a thousand writes sent ahead on one connection, all on disk at the end.
set -eu

# Where `msglog` looks, too: the first that answers is taken. Anyone can make a folder in /tmp.
find_socket() {
    if [ -n "${MSGLOG_SOCKET:-}" ]; then
        set -- "$MSGLOG_SOCKET"
    else
        set -- ${RUNTIME_DIRECTORY:+"${RUNTIME_DIRECTORY%%:*}/msglogd.sock"} \
            ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR/msglogd.sock"} \
            "/tmp/msglogd-$(id -u)/msglogd.sock" /run/msglogd/msglogd.sock
    fi
    for socket; do
        case $socket in /tmp/msglogd-*/*) [ -O "${socket%/*}" ] || continue ;; esac
        if socat -u /dev/null "UNIX-CONNECT:$socket" 2>/dev/null; then return; fi
    done
    echo "no daemon answers; tried: $*. MSGLOG_SOCKET names another socket" >&2
    exit 1
}
find_socket

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
