# What the cases share. On the test host: /build has the programs, /project the working tree.
set -euo pipefail

STORE=/var/lib/msglogd

fail() {
  echo "FAILED: $*"
  journalctl --no-pager -o cat -u msglogd.service -n 30 || true
  exit 1
}

# is WHAT EXPECTED FOUND
is() { [[ $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"; }

# within SECONDS COMMAND...: until it succeeds; for what no event announces
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "in vain: $*"
    sleep 0.05
  done
}

# show PROPERTY [UNIT]
show() { systemctl show -P "$1" "${2:-msglogd.service}"; }

# restarted COUNT: whether systemd has started it again so often by itself
restarted() { (($(show NRestarts) >= $1)); }
is_active() { systemctl is-active "$@"; }
status_says() { show StatusText | grep -q -- "$1"; }

# What of the service's journal matches; a line an entry, its priority first.
journal() {
  journalctl --sync
  journalctl --no-pager -u msglogd.service -o json |
    python3 -c 'import json,sys
for line in sys.stdin:
    entry = json.loads(line)
    print(entry.get("PRIORITY"), entry.get("_PID"), entry.get("MESSAGE"))' | grep -E -- "$1"
}

# The service as a package would install it, not started.
install_service() {
  install -m 755 /build/msglogd /build/msglog /usr/bin/
  install -m 644 /project/systemd/msglogd.{service,socket} /usr/lib/systemd/system/
  install -m 644 /project/systemd/sysusers.conf /usr/lib/sysusers.d/msglogd.conf
  install -m 644 /project/systemd/tmpfiles.conf /usr/lib/tmpfiles.d/msglogd.conf
  systemd-sysusers 2>/dev/null
  systemd-tmpfiles --create msglogd.conf
  systemctl daemon-reload
}

# A stop that does not warn that the socket can wake the service again: it is meant to.
stop_service() { systemctl stop msglogd 2>/dev/null; }

start_service() {
  install_service
  systemctl start msglogd
}

# drop_in LINE...: changes the service
drop_in() {
  mkdir -p /etc/systemd/system/msglogd.service.d
  printf '%s\n' '[Service]' "$@" >"/etc/systemd/system/msglogd.service.d/test.conf"
  systemctl daemon-reload
}

# ask REQUEST: its reply, from a client that waits ten seconds at most
ask() { timeout 10 msglog call "$1"; }

set_key() { ask "{\"cmd\":\"kv.set\",\"key\":\"$1\",\"value\":$2}"; }
get_key() { ask "{\"cmd\":\"kv.get\",\"key\":\"$1\"}" | python3 -c 'import json,sys; print(json.load(sys.stdin)["value"])'; }
