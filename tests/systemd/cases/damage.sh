# Damaged data ends the start with 65: it is not tried again, and clients are refused, not kept waiting.
start_service
for number in 1 2 3; do set_key "k$number" "$number" >/dev/null; done
stop_service
rm -rf $STORE/index
segment=$(echo $STORE/log/*.log)
cp -a "$segment" /tmp/good
printf X | dd of="$segment" bs=1 seek=3 conv=notrunc status=none

# a client wakes it
status=0
ask '{"cmd":"ping"}' >/dev/null 2>&1 || status=$?
((status != 0)) || fail "an answer from damaged data"
within 10 systemctl is-failed msglogd.service
is "its status" 65 "$(show ExecMainStatus)"
socket_is_gone() { ! is_active msglogd.socket; }
within 10 socket_is_gone
is "restarts" 0 "$(show NRestarts)"
starts=$(journal 'damaged data' | wc -l)
((starts <= 2)) || fail "it was started $starts times on damaged data"
status=0
ask '{"cmd":"ping"}' >/dev/null 2>&1 || status=$?
is "the status of a client now" 4 "$status"

# wrong usage is not tried again either
cp -a /tmp/good "$segment"
drop_in Environment=MSGLOGD_MAX_LINE=nonsense
systemctl start msglogd 2>/dev/null && fail "it starts on nonsense"
is "its status" 64 "$(show ExecMainStatus)"
is "restarts" 0 "$(show NRestarts)"
within 5 journal '^3 [0-9]+ MSGLOGD_MAX_LINE: '

# once a person has helped, one command brings everything back
drop_in
systemctl start msglogd
is "a value" 3 "$(get_key k3)"
is "the socket unit" active "$(systemctl is-active msglogd.socket)"
