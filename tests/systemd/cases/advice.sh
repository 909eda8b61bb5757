# What the client says where the service is stopped, and where root has started a daemon of its own beside it.
export HOME=/root
start_service
set_key a 1 >/dev/null
systemctl stop msglogd.socket msglogd
said=$(msglog ping 2>&1) && fail "an answer of a stopped service: $said"
[[ $said == *'`systemctl start msglogd.socket msglogd.service`'* ]] || fail "no way to start it is told: $said"
[[ $said != *'`msglogd`'* ]] || fail "a second store is advised: $said"

# A daemon that was started by hand has data of its own, and comes first: that is said.
msglogd 2>/dev/null >/dev/null &
own=$!
within 10 msglog ping
is "beside a stopped service" "" "$(msglog ping 2>&1 >/dev/null)"
systemctl start msglogd
said=$(msglog ping 2>&1 >/dev/null)
[[ $said == *"taking /tmp/msglogd-0/msglogd.sock; there is /run/msglogd/msglogd.sock too"* ]] || fail "it says: $said"
export MSGLOG_SOCKET=/run/msglogd/msglogd.sock
is "a value of the service" 1 "$(get_key a)"
unset MSGLOG_SOCKET
kill $own
wait $own
is "the daemon of the service alone" 1 "$(get_key a)"

# A socket file that was deleted, as docs/operations.md says.
rm /run/msglogd/msglogd.sock
systemctl restart msglogd.socket
is "behind a new socket" 1 "$(get_key a)"
