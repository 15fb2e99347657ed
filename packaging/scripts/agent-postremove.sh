#!/bin/sh
# Runs after removal. The state goes with a purge (DEB) or with the package (RPM): it binds the highest generation
# seen to this instance, and is of no use to anybody else.
set -e

case "${1:-}" in
purge | 0) rm -rf /var/lib/rotatessh ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
exit 0
