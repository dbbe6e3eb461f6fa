#!/bin/sh
# Puts OpenSMTPD beside Postfix for the tests. Their packages exclude each other, so this one is only unpacked; its two
# accounts and its folders are made as its package would. As root on Debian; elsewhere the tests that need it skip.
set -u
[ -x /usr/sbin/smtpd ] && [ -x /usr/sbin/smtpctl ] && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "not installed, so some tests will skip: opensmtpd"; exit 0; }
export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT
echo "unpacking for the tests: opensmtpd"
{
  chmod 755 "$work" && cd "$work" \
    && { apt-get download opensmtpd || { apt-get update -qq && apt-get download opensmtpd; }; } \
    && apt-get install -y -qq --no-install-recommends libevent-2.1-7 libdb5.3 adduser \
    && dpkg -x opensmtpd_*.deb tree \
    && mkdir -p /usr/libexec/opensmtpd /var/lib/opensmtpd/empty /var/spool/smtpd \
    && chmod 711 /var/spool/smtpd \
    && for name in opensmtpd opensmtpq; do
         getent group "$name" >/dev/null || addgroup --system "$name"
         id "$name" >/dev/null 2>&1 \
           || adduser --system --home /var/lib/opensmtpd/empty --no-create-home --ingroup "$name" "$name"
       done \
    && cp tree/usr/libexec/opensmtpd/* /usr/libexec/opensmtpd/ \
    && cp tree/usr/sbin/smtpd tree/usr/sbin/smtpctl /usr/sbin/ \
    && chgrp opensmtpq /usr/sbin/smtpctl && chmod 2755 /usr/sbin/smtpctl
} >"$work/log" 2>&1 || { tail -n 5 "$work/log"; echo "could not unpack: opensmtpd"; }
# A missing program is judged by the tests: a skip here, a failure in CI.
exit 0
