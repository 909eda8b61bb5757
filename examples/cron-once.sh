#!/bin/sh
# Submits the report of a day once, however often and wherever cron runs it:
#     */10 * * * * /usr/local/bin/cron-once.sh
# The idempotency key names the day. The first request under it puts the job; every later one
# changes nothing and gets the first one's reply. So trying again is always safe.
set -eu
day=${1:-$(date -u +%F)}

. "$(dirname "$0")/find-socket.sh"

reply=$(printf '{"cmd":"queue.put","queue":"reports","body":{"day":"%s"},"idempotency_key":"report-%s"}\n' \
    "$day" "$day" | nc -N -U "$socket")
case $reply in
*'"replayed":true'*) echo "the report of $day was submitted before" ;;
'{"ok":true'*) echo "submitted the report of $day" ;;
*) echo "not submitted: ${reply:-no reply}" >&2; exit 1 ;;
esac
