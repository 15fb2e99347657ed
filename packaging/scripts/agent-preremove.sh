#!/bin/sh
# Runs before removal, from DEB ("remove") and RPM (0). Nothing is done on an upgrade.
set -e

case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl disable --now rotatessh-agent.service >/dev/null 2>&1 || true
fi
echo "rotatessh-agent: the managed keys stay in authorized_keys, so that removing the package locks nobody out."
exit 0
