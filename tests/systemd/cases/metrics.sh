# The timer writes the metrics for node_exporter, whole, while the daemon runs, and never wakes it.
install_service
install -m 644 /project/systemd/msglogd-metrics.{service,timer} /usr/lib/systemd/system/
folder=/var/lib/prometheus/node-exporter
mkdir -p $folder
systemctl daemon-reload
said=$(systemd-analyze verify --man=no msglogd-metrics.service msglogd-metrics.timer 2>&1) || fail "verify: $said"
is "systemd-analyze verify says" "" "$said"

systemctl -q enable msglogd-metrics.timer
systemctl start msglogd
within 10 test -s $folder/msglogd.prom
is "its rights" "644 root" "$(stat -c '%a %U' $folder/msglogd.prom)"
grep -q '^msglogd_build_info{version=' $folder/msglogd.prom || fail "no metrics: $(head -n 3 $folder/msglogd.prom)"
# A start while it ends would be part of the one before.
is_over() { [[ $(show ActiveState msglogd-metrics) == inactive ]]; }
within 10 is_over
first=$(stat -c %i $folder/msglogd.prom)
set_key k 1 >/dev/null
systemctl start msglogd-metrics
grep -q '^msglogd_stored_keys 1$' $folder/msglogd.prom || fail "old metrics"
[[ $(stat -c %i $folder/msglogd.prom) != "$first" ]] || fail "the file was written in place"
is "files" "msglogd.prom" "$(ls $folder)"

# The daemon hangs: nothing stale is left, whether the client gives up or is ended before it does.
kill -STOP "$(show MainPID)"
systemctl start msglogd-metrics 2>/dev/null && fail "metrics of a daemon that hangs"
is "files" "" "$(ls $folder)"
is "how it ended" exit-code "$(show Result msglogd-metrics)"
touch $folder/msglogd.prom{,.new}
mkdir /etc/systemd/system/msglogd-metrics.service.d
printf '[Service]\nTimeoutStartSec=1\n' >/etc/systemd/system/msglogd-metrics.service.d/test.conf
systemctl daemon-reload
systemctl start msglogd-metrics 2>/dev/null && fail "metrics of a daemon that hangs"
is "files" "" "$(ls $folder)"
is "how it ended" timeout "$(show Result msglogd-metrics)"
rm -r /etc/systemd/system/msglogd-metrics.service.d
systemctl daemon-reload
kill -CONT "$(show MainPID)"
systemctl start msglogd-metrics
is "files" "msglogd.prom" "$(ls $folder)"

stop_service
is "the timer" inactive "$(systemctl is-active msglogd-metrics.timer)"
systemctl start msglogd
is "the timer" active "$(systemctl is-active msglogd-metrics.timer)"

# Nobody answers: nothing stale is left.
systemctl stop msglogd.socket msglogd
systemctl start msglogd-metrics 2>/dev/null && fail "metrics of a daemon that does not run"
is "files" "" "$(ls $folder)"
is "the daemon" inactive "$(systemctl is-active msglogd.service)"
