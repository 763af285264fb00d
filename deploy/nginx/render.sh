#!/usr/bin/env bash
# Prints nginx's site for a service, or with --install puts it and what it includes where Debian's nginx looks.
#
#   sudo deploy/nginx/render.sh provider gpu.example --install
#
# Nothing is overwritten that an operator may have changed: aitbc-allow.conf and aitbc-operators.conf stay as they are.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: render.sh provider|hub|node SERVER_NAME [options]
  --install                 write below --root instead of printing, and enable the site
  --root DIR                nginx's folder (default /etc/nginx)
  --upstream HOST:PORT      where the service listens (127.0.0.1:8000, :8080, :8545)
  --certificate FILE        default /etc/letsencrypt/live/SERVER_NAME/fullchain.pem
  --certificate-key FILE    default /etc/letsencrypt/live/SERVER_NAME/privkey.pem
  --http-port N             default 80
  --https-port N            default 443
  --log-dir DIR             default /var/log/nginx
  --address ADDRESS         listen on this address alone, such as 127.0.0.1 (default: all of IPv4 and IPv6)
TEXT
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 2 ] || usage
role=$1 server_name=$2
shift 2
case $role in
  provider) upstream=127.0.0.1:8000 ;;
  hub) upstream=127.0.0.1:8080 ;;
  node) upstream=127.0.0.1:8545 ;;
  *) usage ;;
esac
# It goes into a configuration and into paths.
[[ $server_name =~ ^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$ ]] || {
  echo "render.sh: '$server_name' is no host name" >&2
  exit 2
}
root=/etc/nginx certificate='' certificate_key='' http_port=80 https_port=443 address='' log_dir=/var/log/nginx installs=no
while [ $# -gt 0 ]; do
  option=$1
  shift
  if [ "$option" = --install ]; then
    installs=yes
    continue
  fi
  [ $# -gt 0 ] || usage
  case $option in
    --root) root=$1 ;;
    --upstream) upstream=$1 ;;
    --certificate) certificate=$1 ;;
    --certificate-key) certificate_key=$1 ;;
    --http-port) http_port=$1 ;;
    --https-port) https_port=$1 ;;
    --address) address=$1 ;;
    --log-dir) log_dir=$1 ;;
    *) usage ;;
  esac
  shift
done
certificate=${certificate:-/etc/letsencrypt/live/$server_name/fullchain.pem}
certificate_key=${certificate_key:-/etc/letsencrypt/live/$server_name/privkey.pem}
for value in "$upstream" "$certificate" "$certificate_key" "$http_port" "$https_port" "$address" "$log_dir"; do
  [[ $value =~ ^[A-Za-z0-9_./:@+=-]*$ ]] || {
    echo "render.sh: '$value' has characters that nginx would take for its own" >&2
    exit 2
  }
done

if [ -n "$address" ]; then
  listen_http="    listen $address:$http_port;"
  listen_https="    listen $address:$https_port ssl http2;"
else
  listen_http="    listen $http_port;"$'\n'"    listen [::]:$http_port;"
  listen_https="    listen $https_port ssl http2;"$'\n'"    listen [::]:$https_port ssl http2;"
fi

render() {
  local text
  text=$(cat "$here/$role.conf")
  text=${text//@UPSTREAM@/$upstream}
  text=${text//@LISTEN_HTTP@/$listen_http}
  text=${text//@LISTEN_HTTPS@/$listen_https}
  text=${text//@SERVER_NAME@/$server_name}
  text=${text//@LOG_DIR@/$log_dir}
  text=${text//@CERTIFICATE@/$certificate}
  text=${text//@CERTIFICATE_KEY@/$certificate_key}
  printf '%s\n' "$text"
}

if [ "$installs" = no ]; then
  render
  exit 0
fi

mkdir -p "$root/conf.d" "$root/snippets" "$root/sites-available" "$root/sites-enabled"
install -m 0644 "$here/http.conf" "$root/conf.d/aitbc.conf"
for snippet in tls headers proxy problems; do
  install -m 0644 "$here/$snippet.conf" "$root/snippets/aitbc-$snippet.conf"
done
for list in allow operators; do
  [ -e "$root/aitbc-$list.conf" ] || install -m 0644 "$here/$list.conf" "$root/aitbc-$list.conf"
done
render >"$root/sites-available/aitbc-$role.conf"
ln -sfn "../sites-available/aitbc-$role.conf" "$root/sites-enabled/aitbc-$role.conf"
echo "The $role's site is in $root/sites-available/aitbc-$role.conf. Next: nginx -t && systemctl reload nginx"
