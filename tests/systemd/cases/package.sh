# The package: installed, started, upgraded over live data and under load, removed, purged.
[[ -d /packages ]] || { echo "SKIPPED: no packages were built (packaging/deb needs cargo-deb)"; exit 0; }
old=$(echo /packages/msglogd_*-1_*.deb)
new=$(echo /packages/msglogd_*-2_*.deb)
export DEBIAN_FRONTEND=noninteractive
folder_of_backups=/var/backups/msglogd

dpkg -i "$old" >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
for unit in msglogd.socket msglogd.service; do
  is "$unit" "enabled active" "$(systemctl is-enabled $unit) $(systemctl is-active $unit)"
done
for timer in msglogd-{metrics,backup,verify}.timer; do
  is "$timer" disabled "$(systemctl is-enabled $timer || true)"
done
# with the man pages in place, verify looks for them too
said=$(systemd-analyze verify msglogd.service msglogd.socket msglogd-{metrics,backup,verify}.service 2>&1) || fail "verify: $said"
is "systemd-analyze verify says" "" "$said"
for page in msglogd.8 msglog.1 msglog-protocol.7; do
  said=$(man --warnings -E UTF-8 -l "/usr/share/man/man${page##*.}/$page.gz" 2>&1 >/dev/null)
  is "man says of $page" "" "$said"
done
bash -n /usr/share/bash-completion/completions/msglog || fail "the completions for bash are none"
for file in docs/operations.md docs/top.svg examples/client.py protocol.md LICENSE-MIT; do
  [[ -f /usr/share/doc/msglogd/$file ]] || fail "the package lacks $file"
done
set_key kept '"from the first version"' >/dev/null
ask "{\"cmd\":\"log.backup\",\"to\":\"$folder_of_backups/one\"}" >/dev/null || fail "no backup where the unit allows them"

# options of the administrator live through an upgrade
echo MSGLOGD_MAX_LINE=8K >>/etc/default/msglogd
systemctl restart msglogd
mkdir /tmp/load && cd /tmp/load
python3 /project/tests/systemd/load.py /run/msglogd/msglogd.sock 4 >report 2>errors &
load=$!
sleep 0.5
before=$(show MainPID)
dpkg -i "$new" >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
[[ $(show MainPID) != "$before" ]] || fail "the old daemon still runs"
sleep 0.5
touch stop
wait $load || fail "under the upgrade: $(cat report errors)"
cat report
is "a value over the upgrade" "from the first version" "$(get_key kept)"
is "the longest line" 8192 "$(ask '{"cmd":"info"}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["limits"]["line_bytes"])')"
is "the version" "$(dpkg-deb -f "$new" Version)" "$(dpkg-query -f '${Version}' -W msglogd)"

# an upgrade starts nothing that was stopped
systemctl stop msglogd.socket msglogd.service
dpkg -i "$old" >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
is "a stopped daemon after an upgrade" inactive "$(systemctl is-active msglogd.service)"
systemctl start msglogd

# restored from the backup, as docs/operations.md says
systemctl stop msglogd.socket msglogd.service
mv $STORE $STORE.old
cp -a $folder_of_backups/one $STORE
chown -R msglogd: $STORE
systemctl start msglogd
is "a value from the backup" "from the first version" "$(get_key kept)"

# removed: nothing runs, the data stays; installed again: it is there
dpkg -r msglogd >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
[[ ! -e /usr/bin/msglogd && ! -S /run/msglogd/msglogd.sock ]] || fail "something is left"
pgrep msglogd && fail "it runs without its package"
[[ -d $STORE/log ]] || fail "the data went with the package"
dpkg -i "$new" >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
is "a value after a new installation" "from the first version" "$(get_key kept)"
systemctl -q enable --now msglogd-backup.timer
dpkg -P msglogd >/tmp/dpkg 2>&1 || fail "$(cat /tmp/dpkg)"
grep -q "$STORE is kept" /tmp/dpkg || fail "a purge does not say what it keeps: $(cat /tmp/dpkg)"
[[ -d $STORE/log && ! -e /etc/default/msglogd ]] || fail "a purge took the data, or left the options"
systemctl list-unit-files 'msglogd*' --no-legend | grep -q . && fail "units are left"
left=$(find /etc/systemd /var/lib/systemd/timers -name '*msglogd*')
is "what a purge leaves of units and timers" "" "$left"
