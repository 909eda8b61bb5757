# A reload ends no connection and no process; it says in the journal that the daemon moves.
start_service
set_key k 1 >/dev/null
before=$(show MainPID)
exec 5< <(timeout 20 msglog log follow --from 1)
read -r -t 10 -u 5 first || fail "no event to follow"
systemctl reload msglogd
within 10 journal '^5 [0-9]+ reload: 1 events, 1 connections'
within 10 is_active msglogd
is "the process" "$before" "$(show MainPID)"
set_key k 2 >/dev/null
read -r -t 10 -u 5 second || fail "the follower was cut off by the reload"
is "its status" "1 events, 1 connections" "$(show StatusText)"
