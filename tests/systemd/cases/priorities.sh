# Lines reach the journal with their priority, and without the prefix that carries it.
start_service
within 5 journal '^5 [0-9]+ msglogd .* listening on /run/msglogd/msglogd.sock$'
stop_service

# damaged data: an error
set_key k '"value"' >/dev/null 2>&1 || true
stop_service
segment=$(echo $STORE/log/*.log)
printf X | dd of="$segment" bs=1 seek=3 conv=notrunc status=none
systemctl start msglogd 2>/dev/null && fail "it starts on damaged data"
within 5 journal '^3 [0-9]+ damaged data: '
journal '<[0-9]>' && fail "a prefix is left in a message"
true
