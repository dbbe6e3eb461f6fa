"""What stands behind the command that other programs know as /usr/sbin/sendmail."""
