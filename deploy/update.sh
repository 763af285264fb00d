#!/usr/bin/env bash
# Takes a service from one release to another without losing a job, and back where the new one does not work:
#
#   sudo deploy/update.sh provider --to "$(sudo deploy/release.sh --for provider)"
#   sudo deploy/update.sh provider --to NAME --dry-run      # what would happen
#   sudo deploy/update.sh provider --back                   # to the release before this one
#
# 1. The new release must start at all, before anything is touched.
# 2. The service is stopped in order: a provider refuses new jobs and finishes those it has (clients and hubs get 503 with
#    Retry-After, and come again), a hub keeps in its database what it could not finish, a node has written what it voted.
# 3. The link /opt/aitbc/SERVICE is switched, which is one rename: a power failure finds the old release or the new one.
# 4. The service is started and must become healthy within --health-timeout-s; otherwise all of this goes backwards.
#
# A run that was cut off, by a power failure for instance, is taken up by the next one, to whatever release: where the new
# release is healthy by then, it stays; otherwise the next one starts from what was there before. --back goes back to that.
#
# Exit codes: 0 the new release runs (or did already), 1 it does not and the old one runs again, 2 wrong usage or nothing
# was done, 3 the old one does not run either: somebody must look.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: update.sh provider|hub|node@NAME --to RELEASE | --back [options]
  --health-timeout-s S   how long the new release may take to become healthy (300; a large model loads for minutes)
  --url URL              where the service listens (default: from its settings in /etc/aitbc)
  --dry-run              say what would be done
AITBC_ROOT=DIR works below DIR instead of /, AITBC_SYSTEMCTL is called instead of systemctl.
TEXT
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AITBC_ROOT:-}
read -r -a systemctl <<<"${AITBC_SYSTEMCTL:-systemctl}"
python=${AITBC_PYTHON:-python3}

say() { echo "update.sh: $*"; }
fail() {
  echo "update.sh: $*" >&2
  exit 2
}

[ $# -ge 2 ] || usage
service=$1
shift
new='' goes_back=no url='' health_timeout_s=300 dry_run=no
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --back) goes_back=yes && continue ;;
    --dry-run) dry_run=yes && continue ;;
  esac
  [ $# -gt 0 ] || usage
  case $option in
    --to) new=$1 ;;
    --url) url=$1 ;;
    --health-timeout-s) health_timeout_s=$1 ;;
    *) usage ;;
  esac
  shift
done

if [ "$goes_back" = yes ]; then [ -z "$new" ] || usage; else [ -n "$new" ] || usage; fi
role=${service%%@*}
case $service in
  provider) settings=$root/etc/aitbc/provider.env host_name=AITBC_PROVIDER_BIND_HOST port_name=AITBC_PROVIDER_BIND_PORT default_port=8000 ;;
  hub) settings=$root/etc/aitbc/hub.env host_name=AITBC_HUB_HOST port_name=AITBC_HUB_PORT default_port=8080 ;;
  node@?*) settings=$root/etc/aitbc/node-${service#node@}.env host_name=AITBC_NODE_HOST port_name=AITBC_NODE_PORT default_port=8545 ;;
  *) usage ;;
esac
[[ $service =~ ^[a-z]+(@[A-Za-z0-9_.-]+)?$ ]] || usage
[[ $health_timeout_s =~ ^[0-9]+$ ]] || usage
unit=aitbc-$service.service
link=$root/opt/aitbc/$role
previous=$root/opt/aitbc/$role.previous
releases=$root/opt/aitbc/releases
data_dir=$root/var/lib/aitbc-provider
notes=$root/var/lib/aitbc-update
kept=$notes/provider.sqlite3
under_way=$notes/$service.under-way

# A variable of the service's settings, the last time it is set there; nothing of the file is run.
setting() {
  [ -r "$settings" ] || return 0
  sed -n "s/^[[:space:]]*$1=//p" "$settings" | tail -n 1 | sed -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/"
}

if [ -z "$url" ]; then
  host=$(setting "$host_name") port=$(setting "$port_name")
  case $host in '' | 0.0.0.0) host=127.0.0.1 ;; ::) host='[::1]' ;; *:*) host="[$host]" ;; esac
  url=http://$host:${port:-$default_port}
fi

is_active() { "${systemctl[@]}" is-active --quiet "$unit"; }
property() { "${systemctl[@]}" show --property "$1" --value "$unit"; }
judge() { "$python" "$here/health.py" "$role" "$url" "$@"; }
release_of() { [ ! -L "$1" ] || basename "$(readlink "$1")"; }
switch_link() { # link release
  ln -sfn "releases/$2" "$1.next"
  mv -fT "$1.next" "$1"
}

if [ "$dry_run" = no ]; then
  [ -d "$releases" ] || fail "there is no $releases: install.sh comes first"
  mkdir -p "$notes"
  chmod 0700 "$notes"
  exec 9>"$root/opt/aitbc/.update.lock"
  flock -n 9 || fail "another update is under way"
fi

# For whoever sees the new release healthy: --back leads to the old one from now on.
finish() { # from to
  [ -z "$1" ] || [ "$1" = "$2" ] || switch_link "$previous" "$1"
  rm -f "$under_way"
}

old=$(release_of "$link")
before=$(release_of "$previous")
# An earlier run that was killed, or lost its power, after it had begun to stop the service: see write_under_way. Once it
# had switched, what the database was before is in its copy, and a new copy would be of what may not work.
from='' to='' height=0 is_resumed=no was_running=no
if [ -r "$under_way" ]; then read -r from to height <"$under_way" || true; fi
[ "$from" != - ] || from=''
height=${height:-0}
if [ -n "$to" ] && [ "$old" = "$from" ]; then
  say "the update from ${from:-nothing} to $to was cut off, and ${from:-nothing} still stands"
  was_running=yes
elif [ -n "$to" ] && is_active && judge --height "$height" >/dev/null; then
  # It is healthy by now, so what comes is an update from it, with a copy of its own.
  if [ "$old" = "$to" ]; then
    say "the update from ${from:-nothing} to $to was cut off, but $to is healthy: that one is done"
    [ "$dry_run" = yes ] || finish "$from" "$to"
    before=$from
  fi
elif [ -n "$to" ]; then
  say "the update from ${from:-nothing} to $to was cut off: going on from there"
  is_resumed=yes was_running=yes old=$from before=$from
fi

if [ "$goes_back" = yes ]; then
  [ -n "$before" ] || fail "there is no release before this one"
  new=$before
fi
[[ $new =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] || usage
[ -e "$releases/$new/.complete" ] || fail "there is no whole release $new in $releases: make it with release.sh"
if [ "$is_resumed" = no ] && [ "$old" = "$new" ] && is_active && judge >/dev/null; then
  [ "$dry_run" = yes ] || rm -f "$under_way"
  say "$service runs $new already"
  exit 0
fi

say "$service: ${old:-nothing} -> $new, judged at $url"
"$releases/$new/bin/aitbc" "$role" run --help >/dev/null ||
  fail "the release $new does not even start: nothing was touched"

was_active=no
# A service whose update was cut off was running when that began.
if is_active || [ "$was_running" = yes ]; then was_active=yes; fi
if [ "$role" = node ] && is_active; then
  if reached=$(judge --print-height); then
    height=$reached
  elif [ "$was_running" = no ]; then
    fail "$service does not tell its height, so nothing could be compared: is it healthy?"
  fi
fi

# Before anything is touched: a power failure leaves all of it or nothing.
write_under_way() {
  echo "${old:--} $new $height" >"$under_way.next"
  sync "$under_way.next"
  mv -fT "$under_way.next" "$under_way"
  sync "$notes"
}

stop_service() {
  "${systemctl[@]}" stop "$unit"
  # `timeout` is what systemd says of a service that it had to kill.
  if [ "$(property Result)" = timeout ]; then
    say "warning: $unit did not end in time and was killed; its log says which jobs were at work"
  fi
}

start_service() {
  "${systemctl[@]}" reset-failed "$unit" 2>/dev/null || true
  "${systemctl[@]}" start "$unit"
}

most_restarts=3
await_health() {
  local deadline=$((SECONDS + health_timeout_s)) verdict='' polls_down=0
  while [ "$SECONDS" -lt "$deadline" ]; do
    if verdict=$(judge --height "$height"); then
      return 0
    fi
    # systemd tries again by itself. Between two tries it may be down for a moment, or, with a job of systemd's pending,
    # until aitbc-gpu.service has run; where systemd has given up, it stays down.
    case $(property ActiveState)$(property Job) in
      failed | inactive) polls_down=$((polls_down + 1)) ;;
      *) polls_down=0 ;;
    esac
    # A release that has died so often will not get better.
    if [ "$polls_down" -ge 2 ] || [ "$(property NRestarts)" -ge "$most_restarts" ]; then
      say "$unit does not stay up"
      return 1
    fi
    sleep 1
  done
  say "$unit is not healthy after $health_timeout_s s: $verdict"
  return 1
}

if [ "$dry_run" = yes ]; then
  if [ "$was_active" = yes ]; then
    echo "would run: ${systemctl[*]} stop $unit   (which waits for the jobs that it has)"
    [ "$role$is_resumed" != providerno ] || echo "would copy: $data_dir/outbox.sqlite3 to $kept"
  fi
  [ "$role$is_resumed$new" != "provideryes$old" ] || echo "would put back: $kept, where nothing has happened since"
  echo "would switch: $link from $(release_of "$link") to $new"
  if [ "$was_active" = yes ]; then
    echo "would run: ${systemctl[*]} start $unit   and wait up to $health_timeout_s s until $url is healthy"
    echo "would go back to ${old:-nothing} where it is not"
  fi
  exit 0
fi

if [ "$was_active" = no ]; then
  switch_link "$link" "$new"
  [ -z "$old" ] || [ "$old" = "$new" ] || switch_link "$previous" "$old"
  say "$unit was not running: it will run $new when it is started"
  exit 0
fi

# Back to $old; returns where that works again, and ends with 3 where it does not.
take_back() { # release
  if [ -z "$old" ] || [ "$old" = "$1" ]; then
    say "there is no release to go back to"
    exit 3
  fi
  say "going back to $old"
  stop_service
  # Before the switch only $old was there, and the copy may be of an earlier update.
  if [ "$role" = provider ] && [ "$(release_of "$link")" != "$old" ]; then
    local code=0
    "$python" "$here/keep_database.py" restore "$data_dir" "$kept" || code=$?
    case $code in
      0) ;;
      4)
        say "$1 has taken jobs and changed the database, so $old cannot have it back without losing them."
        say "$1 is started again; update to a release that works on its database"
        start_service
        exit 3
        ;;
      *)
        say "the database could not be looked at; nothing is running"
        exit 3
        ;;
    esac
  fi
  switch_link "$link" "$old"
  rm -f "$under_way"
  start_service
  if await_health; then
    say "$service runs $old again; $1 is left in $releases for a look, and journalctl -u $unit says what it said"
    return 0
  fi
  say "$old does not become healthy either: journalctl -u $unit"
  exit 3
}

roll_back() {
  trap - EXIT INT TERM
  set +e
  take_back "$new"
  exit 1
}

if [ "$is_resumed" = yes ] && [ "$new" = "$old" ]; then
  set +e
  take_back "$to"
  exit 0
fi

# From here on the service is touched: whatever ends this script early leads back.
write_under_way
trap roll_back EXIT
trap 'exit 130' INT TERM

say "stopping: jobs that were accepted are finished first"
stop_service
if [ "$role" = provider ] && [ "$is_resumed" = no ]; then
  rm -f "$kept"
  "$python" "$here/keep_database.py" copy "$data_dir" "$kept"
fi
switch_link "$link" "$new"
start_service
await_health || exit 1
finish "$old" "$new"
trap - EXIT INT TERM
say "$service runs $new and is healthy"
