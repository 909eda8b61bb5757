# A daemon that is killed comes back by itself, with everything it had acknowledged.
start_service
for number in $(seq 6); do
  set_key "k$number" "$number" >/dev/null
  kill -KILL "$(show MainPID)"
  is "the value after a crash" "$number" "$(get_key "k$number")"
done
within 10 restarted 6
is "the result" success "$(show Result)"
