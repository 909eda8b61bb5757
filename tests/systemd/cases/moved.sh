# A data folder that was moved away beneath the daemon is put back as docs/operations.md says; put back without that,
# it is told that it lies one folder too deep, and how to mend that.
start_service
set_key k 1 >/dev/null
mv $STORE /var/lib/away
systemctl stop msglogd.socket msglogd
is "how it ended" 74 "$(show ExecMainStatus)"
is "the folder that systemd makes at a stop" "" "$(ls -A $STORE)"
rmdir $STORE
mv -T /var/lib/away $STORE
systemctl start msglogd
is "a value" 1 "$(get_key k)"

mv $STORE /var/lib/away
systemctl stop msglogd.socket msglogd
mv /var/lib/away $STORE
drop_in Restart=no
systemctl start msglogd 2>/dev/null && fail "it starts on nothing"
command=$(journal "$STORE holds no data, but $STORE/away does" | cut -d '`' -f 2)
runuser -u msglogd -- sh -c "$command" || fail "the command fails: $command"
systemctl start msglogd
is "a value" 1 "$(get_key k)"

# A place that the sandbox does not open is told with what opens it.
drop_in Environment=MSGLOGD_BACKUP_DIR=/srv/b Restart=no
systemctl restart msglogd
install -d -o msglogd /srv/b
[[ $(ask '{"cmd":"log.backup","to":"/srv/b/x"}' 2>/dev/null) == *ReadWritePaths=* ]] || fail "a closed place is not explained"
