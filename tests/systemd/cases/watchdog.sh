# The watchdog ends a daemon whose loop or whose writer hangs, systemd starts it again, and a daemon
# that works, however hard, is left alone.
install_service
drop_in WatchdogSec=2 TimeoutAbortSec=1
systemctl start msglogd
set_key k 1 >/dev/null

# hard at work: nobody is killed
mkdir /tmp/load && cd /tmp/load
python3 /project/tests/systemd/load.py /run/msglogd/msglogd.sock 6 >report 2>errors &
load=$!
sleep 5
touch stop
wait $load || fail "$(cat report errors)"
is "restarts of a daemon that works" 0 "$(show NRestarts)"

# everything hangs
kill -STOP "$(show MainPID)"
within 15 restarted 1
is "a value" 1 "$(get_key k)"

# Only the writer hangs, in a sync that does not come back; reads go on. That sync has nothing
# acknowledged in it.
pid=$(show MainPID)
strace -q -f -p "$pid" -e trace=fdatasync -e inject=fdatasync:delay_enter=60000000 -o /tmp/trace 2>/dev/null &
tracer=$!
is_traced() { grep -q 'TracerPid:[[:space:]]*[1-9]' "/proc/$pid/task/$1/status"; }
for task in /proc/"$pid"/task/*; do within 5 is_traced "${task##*/}"; done
(set_key lost 2 >/tmp/lost 2>&1 || true) &
sleep 0.5
is "a read beside a writer that hangs" 1 "$(get_key k)"
within 15 journal "Killing process $pid .* with signal SIGABRT"
kill -KILL $tracer # who is traced in a delay does not die before it
wait $tracer 2>/dev/null || true
within 15 restarted 2
is "a value" 1 "$(get_key k)"
grep -q '"ok":true' /tmp/lost && fail "it acknowledged what was not synced"
set_key k 3 >/dev/null
