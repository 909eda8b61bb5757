#!/bin/sh
# Talks to msglogd with nc (OpenBSD's): requests are sent ahead, replies come in the same order.
# `nc -N` ends its sending side with its input; the daemon answers everything, then closes.
set -eu

. "$(dirname "$0")/find-socket.sh"

nc -N -U "$socket" <<'END'
{"cmd":"kv.set","key":"example/nc","value":{"greeting":"hello"}}
{"cmd":"message.post","originator":"nc","recipient":"examples","body":"Sent with nc."}
{"cmd":"kv.get","key":"example/nc"}
END

# One request and its reply, as a function. printf, since echo may change backslashes.
ask() { printf '%s\n' "$1" | nc -N -U "$socket"; }
ask '{"cmd":"message.search","recipient":"examples","text":"nc","limit":1}'
