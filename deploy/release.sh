#!/usr/bin/env bash
# Makes a release: a virtual environment of its own in /opt/aitbc/releases, which update.sh then switches to.
#
#   sudo deploy/release.sh --for provider            # of this checkout; prints the release's name
#
# A release is complete when it holds the file .complete; a run that was cut off is begun anew by the next.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: release.sh --for ROLES [options]
  --for ROLES       what the machine runs, separated by commas: node, hub, provider (decides which packages are needed)
  --source PATH     a checkout (default: the one this script lies in), or a wheel of it
  --with EXTRAS     further optional parts, separated by commas: ray, s3, telemetry
  --name NAME       of the release (default: its version and what it was made from)
  --python PYTHON   Python 3.11 or 3.12 (default: the first that is here)
  --dry-run         say what would be done
AITBC_ROOT=DIR works below DIR instead of /.
TEXT
  exit 2
}

fail() {
  echo "release.sh: $*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_path=$(dirname "$here") roles='' extras='' name='' python='' dry_run=no
while [ $# -gt 0 ]; do
  option=$1
  shift
  if [ "$option" = --dry-run ]; then
    dry_run=yes
    continue
  fi
  [ $# -gt 0 ] || usage
  case $option in
    --for) roles=$1 ;;
    --source) source_path=$1 ;;
    --with) extras=$1 ;;
    --name) name=$1 ;;
    --python) python=$1 ;;
    *) usage ;;
  esac
  shift
done
[ -n "$roles" ] || usage

for role in ${roles//,/ }; do
  case $role in
    node) ;;
    hub | provider) extras=${extras:+$extras,}$role ;;
    *) fail "'$role' is none of node, hub, provider" ;;
  esac
done
[[ $extras =~ ^[a-z,]*$ ]] || fail "'$extras' is no list of optional parts"
[ -e "$source_path" ] || fail "there is no $source_path"
source_path=$(realpath "$source_path")

if [ -z "$python" ]; then
  for candidate in python3 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))'; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || fail "AITBC needs Python 3.11 or 3.12: apt install python3 python3-venv"
fi

# The commit where there is one; else, and where files differ from it, a digest of what is installed.
fingerprint() {
  if [ -f "$source_path" ]; then
    sha256sum "$source_path" | cut -c 1-10
  elif [ -z "$(git -C "$source_path" status --porcelain 2>/dev/null || echo unknown)" ]; then
    git -C "$source_path" rev-parse --short=10 HEAD
  else
    (cd "$source_path" && find pyproject.toml constraints.txt chain genesis hub provider wallet -type f ! -name '*.pyc' -print0 |
      sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-10)
  fi
}

if [ -z "$name" ]; then
  if [ -f "$source_path" ]; then
    version=$(basename "$source_path" | cut -d - -f 2)
  else
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source_path/pyproject.toml" | head -n 1)
  fi
  name=${version:-0}-$(fingerprint)${extras:+-${extras//,/-}}
fi
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$ ]] || fail "'$name' cannot be a folder's name"

release=${AITBC_ROOT:-}/opt/aitbc/releases/$name
constraints=$source_path/constraints.txt
[ -f "$constraints" ] || constraints=$(dirname "$here")/constraints.txt

if [ -e "$release/.complete" ]; then
  echo "$name"
  exit 0
fi
if [ "$dry_run" = yes ]; then
  echo "would make $release with $("$python" --version) from $source_path${extras:+ with $extras}" >&2
  echo "$name"
  exit 0
fi

# Built from a copy: setuptools leaves folders beside the source, and takes up what an earlier build has left there.
building=''
if [ -d "$source_path" ]; then
  building=$(mktemp -d)
  trap 'rm -rf "$building"' EXIT
  for part in pyproject.toml README.md LICENSE chain genesis hub provider wallet; do
    cp -R "$source_path/$part" "$building/"
  done
fi

# What comes from pip goes to stderr: stdout has the name alone, for scripts.
{
  rm -rf "$release"
  mkdir -p "$(dirname "$release")"
  "$python" -m venv "$release"
  install=("$release/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints")
  # torch first and by its exact version: asked for by another package, pip may choose a newer build of several GB.
  if [[ ,$extras, == *,provider,* ]]; then
    "${install[@]}" "$(grep '^torch==' "$constraints")"
  fi
  "${install[@]}" "${building:-$source_path}${extras:+[$extras]}"
  "$release/bin/aitbc" --version
  for role in ${roles//,/ }; do
    "$release/bin/aitbc" "$role" run --help >/dev/null
  done
  chmod -R go+rX "$release"
  touch "$release/.complete"
} >&2
echo "$name"
