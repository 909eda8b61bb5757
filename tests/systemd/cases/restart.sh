# Restarts under load refuse no connection and lose nothing that was acknowledged: systemd keeps the
# socket, connections wait in its backlog, and what was received before a stop is answered.
start_service
mkdir /tmp/load && cd /tmp/load
python3 /project/tests/systemd/load.py /run/msglogd/msglogd.sock 6 >report 2>errors &
load=$!
for round in $(seq 10); do
  sleep 0.2
  systemctl restart msglogd
  kill -0 $load 2>/dev/null || fail "the load ended: $(cat report errors)"
done
# and crashes, which refuse nobody either
for round in $(seq 2); do
  sleep 0.2
  kill -KILL "$(show MainPID)"
  within 10 restarted "$round"
  within 10 is_active msglogd
done
sleep 0.5
touch stop
wait $load || fail "$(cat report errors)"
cat report
is "restarts after crashes" 2 "$(show NRestarts)"
is "lines that warn" "" "$(journal '^[0-4] [0-9]+ ' | grep -v 'a write that was cut short' | grep -v ' msglogd.service: ' || true)"
