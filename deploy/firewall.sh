#!/usr/bin/env bash
# ufw's rules for a machine of AITBC: SSH (slowed down for who tries often), HTTP for certificates, HTTPS for everything
# else. The services listen on loopback behind nginx, so no port of theirs is opened.
#
#   sudo deploy/firewall.sh                       # the rules; ufw is switched on by you, once they look right
#   sudo deploy/firewall.sh --ssh-port 2222 --prometheus 10.0.0.5
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: firewall.sh [options]
  --ssh-port N            default 22
  --prometheus ADDRESS    may read node_exporter's figures (port 9100) from elsewhere
  --signer-from ADDRESS   this machine has a remote signer (port 9000) for the node or hub at this address
  --dry-run               say what would be done
TEXT
  exit 2
}

ssh_port=22 prometheus='' signer_from='' command=(ufw)
while [ $# -gt 0 ]; do
  option=$1
  shift
  if [ "$option" = --dry-run ]; then
    command=(echo "would run: ufw")
    continue
  fi
  [ $# -gt 0 ] || usage
  case $option in
    --ssh-port) ssh_port=$1 ;;
    --prometheus) prometheus=$1 ;;
    --signer-from) signer_from=$1 ;;
    *) usage ;;
  esac
  shift
done
[[ $ssh_port =~ ^[0-9]{1,5}$ ]] || usage
[[ $prometheus$signer_from =~ ^[0-9A-Fa-f.:/]*$ ]] || usage

# SSH first: whoever enables the rest without it is locked out.
"${command[@]}" limit "$ssh_port/tcp" comment 'SSH'
"${command[@]}" default deny incoming
"${command[@]}" default allow outgoing
"${command[@]}" allow 80/tcp comment 'certificates; redirects to HTTPS'
"${command[@]}" allow 443/tcp comment 'AITBC behind nginx'
if [ -n "$prometheus" ]; then
  "${command[@]}" allow proto tcp from "$prometheus" to any port 9100 comment 'Prometheus'
fi
if [ -n "$signer_from" ]; then
  "${command[@]}" allow proto tcp from "$signer_from" to any port 9000 comment 'remote signer'
fi
echo "Look at the rules (ufw show added), then switch them on: ufw enable"
