# The timers of backups and of verifications: they run while the daemon does, and make up for what was missed; the
# newest backups stay, and those that others made.
install_service
install -m 644 /project/systemd/msglogd-{backup,verify}.{service,timer} /usr/lib/systemd/system/
systemctl daemon-reload
for unit in msglogd-{backup,verify}.{service,timer}; do
  said=$(systemd-analyze verify --man=no $unit 2>&1) || fail "verify: $said"
  is "systemd-analyze verify says of $unit" "" "$said"
done
folder=/var/backups/msglogd
backups() { find $folder -mindepth 1 -maxdepth 1 -printf '%f\n' | sort; }

systemctl -q enable msglogd-backup.timer msglogd-verify.timer
systemctl start msglogd
for timer in msglogd-{backup,verify}.timer; do is "$timer" active "$(systemctl is-active $timer)"; done
set_key k 1 >/dev/null
ask "{\"cmd\":\"log.backup\",\"to\":\"$folder/by-hand\"}" >/dev/null

# A day that was missed while the daemon was stopped.
systemctl stop msglogd.socket msglogd
is "the timer of a stopped daemon" inactive "$(systemctl is-active msglogd-backup.timer)"
is "backups" by-hand "$(backups)"
touch -d '2 days ago' /var/lib/systemd/timers/stamp-msglogd-backup.timer
systemctl start msglogd
made() { [[ $(backups | grep -c '^auto-.*Z-1$') == 1 ]]; }
within 20 made
is_over() { [[ $(show ActiveState msglogd-backup) == inactive ]]; }
within 10 is_over
first=$(backups | grep ^auto-)
is "its rights" "700 msglogd" "$(stat -c '%a %U' "$folder/$first")"
runuser -u msglogd -- msglogd check --data "$folder/$first" >/dev/null || fail "the backup does not check"

# As many days later: the oldest of its own go, once the new one is there; and what a killed daemon left.
mv "$folder/$first" $folder/auto-2020-01-01T000000Z-1
for day in 2 3 4 5 6 7 8; do mkdir $folder/auto-2020-01-0${day}T000000Z-$day; done
for key in 2 3 4 5 6 7 8 9 10; do set_key $key 1 >/dev/null; done
mkdir $folder/auto-2020-01-09T000000Z.8f3a.tmp
systemctl start msglogd-backup
is "how many stay" 7 "$(backups | grep -c ^auto-)"
is "the oldest that stays" auto-2020-01-03T000000Z-3 "$(backups | head -n 1)"
is "that of somebody else" by-hand "$(backups | tail -n 1)"
newest() { backups | tail -n 2 | head -n 1; }
[[ $(newest) > auto-2026 && $(newest) == *Z-10 ]] || fail "the new one is not there: $(backups)"

# One that fails removes nothing; 0 keeps all.
set_backup() {
  mkdir -p /etc/systemd/system/msglogd-backup.service.d
  printf '%s\n' '[Service]' "$@" >/etc/systemd/system/msglogd-backup.service.d/test.conf
  systemctl daemon-reload
}
before=$(backups)
set_backup 'Environment=KEEP=1 MSGLOG_SOCKET=/run/nowhere'
systemctl start msglogd-backup 2>/dev/null && fail "a backup without a daemon"
is "backups" "$before" "$(backups)"
set_backup 'Environment=KEEP=0'
mv "$folder/$(newest)" $folder/auto-2020-01-09T000000Z-10
systemctl start msglogd-backup
is "how many stay" 8 "$(backups | grep -c ^auto-)"

# Of a daemon that began with nothing, as its disk was not mounted, one is taken, and pushes out none that has more.
mv "$folder/$(newest)" $folder/auto-2020-01-10T000000Z-10
systemctl stop msglogd.socket msglogd
mv $STORE $STORE.mounted
systemctl start msglogd
set_backup 'Environment=KEEP=1'
systemctl start msglogd-backup 2>/dev/null && fail "a backup that has less goes unnoticed"
journalctl --sync
journalctl --no-pager -o cat -u msglogd-backup | grep -q "earlier seq than auto-2020-01-10T000000Z-10" ||
  fail "it does not say which backup has more"
is "how many stay" 9 "$(backups | grep -c ^auto-)"
systemctl stop msglogd.socket msglogd
rm -r $STORE "$folder/$(newest)"
mv $STORE.mounted $STORE
systemctl start msglogd
systemctl start msglogd-backup
is "how many stay" 1 "$(backups | grep -c ^auto-)"

# A verification asks the daemon that /etc/default/msglogd names.
systemctl start msglogd-verify
echo MSGLOG_SOCKET=/run/nowhere >/etc/default/msglogd
systemctl start msglogd-verify 2>/dev/null && fail "it asks another daemon"
rm /etc/default/msglogd

# One that finds damage fails, and says where.
segment=$(echo $STORE/log/*.log)
printf X | dd of="$segment" bs=1 seek=3 conv=notrunc status=none
systemctl start msglogd-verify 2>/dev/null && fail "the damage is not found"
journalctl --sync
journalctl --no-pager -o cat -u msglogd-verify | grep -q "$segment" || fail "the damage is not named"
