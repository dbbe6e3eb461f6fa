#!/bin/sh
# Installs the programs named as PROGRAM:PACKAGE that are missing, when this is root on Debian; else only says which are.
missing=
for pair in "$@"; do
  program=${pair%%:*}
  command -v "$program" >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/"$program" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  echo "installing for the tests:$missing"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/tmp/dmarcview-peers.$$ 2>&1 \
    || { tail -n 5 /tmp/dmarcview-peers.$$; echo "could not install:$missing"; }
  rm -f /tmp/dmarcview-peers.$$
else
  echo "not installed, so some tests will skip:$missing  (Debian package names)"
fi
# A missing program is judged by the tests: a skip here, a failure in CI.
exit 0
