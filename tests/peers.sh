#!/bin/sh
# Installs what is missing of PROGRAM:PACKAGE, perl:MODULE:PACKAGE and file:PATTERN:PACKAGE, when this is root on Debian;
# else only says which.
missing=
there() {
  case $1 in
    perl:*) module=${1#perl:} && perl -M"${module%:*}" -e 1 ;;
    file:*) pattern=${1#file:} && ls ${pattern%:*} ;;
    *) command -v "${1%%:*}" || ls /usr/lib/postgresql/*/bin/"${1%%:*}" ;;
  esac >/dev/null 2>&1
}
for entry in "$@"; do
  there "$entry" || missing="$missing ${entry##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  # The tests start what they need: no daemon among these may start by itself (policy-rc.d, as invoke-rc.d asks it).
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ] && { printf '#!/bin/sh\nexit 101\n' >"$policy"; } 2>/dev/null; then
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  echo "installing for the tests:$missing"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/tmp/dmarcview-peers.$$ 2>&1 \
    || { tail -n 5 /tmp/dmarcview-peers.$$; echo "could not install:$missing"; }
  rm -f /tmp/dmarcview-peers.$$
else
  echo "not installed, so some tests will skip:$missing  (Debian package names)"
fi
# A missing program is judged by the tests: a skip here, a failure in CI.
exit 0
