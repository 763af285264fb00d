#!/usr/bin/env bash
# Installs what a machine needs to run services of AITBC under systemd, and changes nothing that is there already: users,
# folders, units, settings to fill in, and a first release. Run it again as often as you like; updates are update.sh's.
#
#   sudo deploy/install.sh --for provider
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: install.sh --for ROLES [options]
  --for ROLES       node, hub, provider, separated by commas
  --node-name NAME  of the node's settings and folder (main)
  --no-release      make no release: only users, folders, units and settings
  --dry-run         say what would be done
Everything else goes to release.sh (--source, --with, --name, --python).
AITBC_ROOT=DIR installs below DIR instead of /, with neither users nor systemd.
TEXT
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AITBC_ROOT:-}
roles='' node_name=main makes_release=yes dry_run=no
release_options=()
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --no-release) makes_release=no && continue ;;
    --dry-run) dry_run=yes release_options+=(--dry-run) && continue ;;
  esac
  [ $# -gt 0 ] || usage
  case $option in
    --for) roles=$1 ;;
    --node-name) node_name=$1 ;;
    --source | --with | --name | --python) release_options+=("$option" "$1") ;;
    *) usage ;;
  esac
  shift
done
[ -n "$roles" ] || usage
[[ $node_name =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || usage
for role in ${roles//,/ }; do
  case $role in node | hub | provider) ;; *) usage ;; esac
done
if [ -z "$root" ] && [ "$dry_run" = no ] && [ "$(id -u)" != 0 ]; then
  echo "install.sh: users, folders and units need root: run it with sudo" >&2
  exit 1
fi

act() {
  if [ "$dry_run" = yes ]; then
    echo "would run: $*"
  else
    "$@"
  fi
}

# A file of ours, which a newer version replaces.
put() { # source destination
  if ! cmp -s "$1" "$root$2"; then
    act install -D -m 0644 "$1" "$root$2"
    echo "installed $2"
  fi
}

# A file of the operator's: only its first content is ours.
offer() { # source destination
  if [ ! -e "$root$2" ]; then
    act install -D -m 0640 "$1" "$root$2"
    echo "installed $2: fill it in"
  fi
}

put "$here/systemd/aitbc.sysusers" /usr/lib/sysusers.d/aitbc.conf
put "$here/systemd/aitbc.tmpfiles" /usr/lib/tmpfiles.d/aitbc.conf
for role in ${roles//,/ }; do
  case $role in
    node)
      put "$here/systemd/aitbc-node@.service" /etc/systemd/system/aitbc-node@.service
      offer "$here/settings/node.env" "/etc/aitbc/node-$node_name.env"
      ;;
    *)
      put "$here/systemd/aitbc-$role.service" "/etc/systemd/system/aitbc-$role.service"
      offer "$here/settings/$role.env" "/etc/aitbc/$role.env"
      [ "$role" != provider ] || put "$here/systemd/aitbc-gpu.service" /etc/systemd/system/aitbc-gpu.service
      ;;
  esac
done
if [ -z "$root" ]; then
  act systemd-sysusers /usr/lib/sysusers.d/aitbc.conf
  act systemd-tmpfiles --create /usr/lib/tmpfiles.d/aitbc.conf
  act systemctl daemon-reload
else
  act mkdir -p "$root"/etc/aitbc/{hub,provider} "$root/opt/aitbc/releases" \
    "$root"/var/lib/aitbc-{node,hub,provider,update} "$root/var/cache/aitbc-provider"
fi

if [ "$makes_release" = yes ]; then
  release=$("$here/release.sh" --for "$roles" "${release_options[@]}")
  for role in ${roles//,/ }; do
    if [ ! -L "$root/opt/aitbc/$role" ]; then
      act ln -s "releases/$release" "$root/opt/aitbc/$role"
      echo "$role runs $release"
    elif [ "$(basename "$(readlink "$root/opt/aitbc/$role")")" != "$release" ]; then
      service=$role
      [ "$role" != node ] || service=node@$node_name
      echo "$release is ready; to change to it: deploy/update.sh $service --to $release"
    fi
  done
fi
