# A start that reads a long log back may take longer than TimeoutStartSec=, tells how far it is, and
# ends at once when it is told to stop.
start_service
mkdir /tmp/load && cd /tmp/load
python3 - <<'PY'
import json, socket
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/msglogd/msglogd.sock")
reader = stream.makefile("rb")
post = {"cmd": "message.post", "originator": "a", "recipient": "b", "durable": False}
for start in range(0, 120000, 1000):
    posts = [{**post, "body": f"message {start + n} of the long log"} for n in range(1000)]
    for member in posts:
        del member["durable"]
    stream.sendall(json.dumps({"cmd": "batch", "commands": posts, "durable": False}).encode() + b"\n")
    assert json.loads(reader.readline())["ok"]
PY
stop_service
rm -r $STORE/index

# Reads of the log are made slow, so that reading it back takes some 6 s, and a start without a sign may take 2.
cat >/usr/local/bin/slowly <<SH
#!/bin/sh
exec strace -D -q -f -o /dev/null -P $STORE/log/00000000000000000001.log -e trace=pread64 \
  -e inject=pread64:delay_enter=200000 /usr/bin/msglogd
SH
chmod 755 /usr/local/bin/slowly
drop_in TimeoutStartSec=2 ExecStart= ExecStart=/usr/local/bin/slowly NoNewPrivileges=no 'SystemCallFilter=' \
  'SystemCallFilter=@system-service @debug' RestrictRealtime=no Restart=no
systemctl start --no-block msglogd
within 10 status_says "reading the log back: [0-9]*%"
show StatusText
within 60 is_active msglogd
is "events" 120000 "$(ask '{"cmd":"ping"}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["seq"])')"
took=$(($(show ActiveEnterTimestampMonotonic) - $(show InactiveExitTimestampMonotonic)))
((took > 2500000)) || fail "the start took $took us, which proves nothing"

# a stop in the middle
stop_service
rm -r $STORE/index
systemctl start --no-block msglogd
within 10 status_says "reading the log back"
before=$(date +%s%N)
stop_service
(($(date +%s%N) - before < 1500000000)) || fail "a stop waits for the log to be read back"
is "how it ended" "success 0" "$(show Result) $(show ExecMainStatus)"
rm /etc/systemd/system/msglogd.service.d/test.conf
systemctl daemon-reload
systemctl start msglogd
is "events" 120000 "$(ask '{"cmd":"ping"}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["seq"])')"
