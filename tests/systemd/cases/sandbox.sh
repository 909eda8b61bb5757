# The units are sound, the sandbox is as tight as it can be, and everything works inside it.
install_service
said=$(systemd-analyze verify --man=no msglogd.service msglogd.socket 2>&1) || fail "verify: $said"
is "systemd-analyze verify says" "" "$said"
systemd-analyze security --threshold=7 --no-pager msglogd.service >/tmp/security || fail "$(tail -n 1 /tmp/security)"

systemctl start msglogd
pid=$(show MainPID)
is "the priority of its background" 10 "$(ps -L -o nice= -o comm= -p "$pid" | awk '$2 == "background" { print $1 }')"
is "its user" msglogd "$(stat -c %U "/proc/$pid")"
is "its capabilities" 0000000000000000 "$(awk '/^CapBnd/ { print $2 }' "/proc/$pid/status")"

# It sees who asks (no user namespace), and writes where it may.
set_key greeting '"hello"' >/dev/null
is "a value" hello "$(get_key greeting)"
is "the kernel's word for who asks" 0 \
  "$(ask '{"cmd":"log.read"}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["events"][0]["uid"])')"
is "the store" "700 msglogd msglogd" "$(stat -c '%a %U %G' $STORE)"
is "the socket" "660 msglogd msglogd" "$(stat -c '%a %U %G' /run/msglogd/msglogd.sock)"
is "files others may read" "" "$(find $STORE -mindepth 1 -perm /077)"

# Who is in the group may connect, and nobody else.
useradd insider -G msglogd
useradd outsider
setpriv --reuid insider --regid insider --init-groups msglog call '{"cmd":"ping"}' >/dev/null || fail "an insider is kept out"
status=0
setpriv --reuid outsider --regid outsider --init-groups msglog call '{"cmd":"ping"}' >/dev/null 2>&1 || status=$?
is "the status of an outsider's client" 4 "$status"

# The rights that groups give hold inside the sandbox.
groupadd keepers
usermod -aG msglogd,keepers outsider
drop_in "Environment=MSGLOGD_ADMIN_GID=$(getent group keepers | cut -d: -f3)"
systemctl restart msglogd
pid=$(show MainPID)
as() { setpriv --reuid "$1" --regid "$1" --init-groups msglog call "$2" 2>&1 || true; }
[[ $(as outsider '{"cmd":"log.verify"}') == '{"ok":true'* ]] || fail "an administrator by group may not verify"
[[ $(as outsider '{"cmd":"log.compact"}') == '{"ok":true'* ]] || fail "no compaction in the sandbox"
[[ $(as outsider '{"cmd":"log.backup","to":"/var/backups/msglogd/one"}') == '{"ok":true'* ]] || fail "no backup in the sandbox"
[[ $(as insider '{"cmd":"log.verify"}') == *forbidden* ]] || fail "anyone may verify"

# Nothing else can be written, not even where the user could.
install -d -o msglogd /srv/elsewhere
is "a write elsewhere, in the daemon's namespace" 1 \
  "$(nsenter -t "$pid" -m setpriv --reuid msglogd --clear-groups sh -c 'touch /srv/elsewhere/x 2>/dev/null; echo $?')"
is "a write to the backup folder, there" 0 \
  "$(nsenter -t "$pid" -m setpriv --reuid msglogd --clear-groups sh -c 'touch /var/backups/msglogd/x; echo $?')"

# A stop leaves a store that checks.
stop_service
is "how it ended" "success 0" "$(show Result) $(show ExecMainStatus)"
setpriv --reuid msglogd --regid msglogd --clear-groups msglogd check --data $STORE >/dev/null || fail "the store does not check"
