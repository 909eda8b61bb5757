#!/bin/sh
# Talks to msglogd with nc (OpenBSD's): requests are sent ahead, replies come in the same order.
# `nc -N` ends its sending side with its input; the daemon answers everything, then closes.
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
        if nc -N -U "$socket" </dev/null >/dev/null 2>&1; then return; fi
    done
    echo "no daemon answers; tried: $*. MSGLOG_SOCKET names another socket" >&2
    exit 1
}
find_socket

nc -N -U "$socket" <<'END'
{"cmd":"kv.set","key":"example/nc","value":{"greeting":"hello"}}
{"cmd":"message.post","originator":"nc","recipient":"examples","body":"Sent with nc."}
{"cmd":"kv.get","key":"example/nc"}
END

# One request and its reply, as a function. printf, since echo may change backslashes.
ask() { printf '%s\n' "$1" | nc -N -U "$socket"; }
ask '{"cmd":"message.search","recipient":"examples","text":"nc","limit":1}'
