#!/bin/sh
# Runs before removal, from DEB ("remove") and RPM (0). An upgrade changes nothing here.
set -e

case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac

if command -v systemctl >/dev/null; then
	if [ -d /run/systemd/system ]; then
		systemctl stop rotatessh-agent.service || true
	fi
	systemctl disable rotatessh-agent.service >/dev/null 2>&1 || true
fi
echo "rotatessh-agent: the managed keys stay in authorized_keys, so that removing the package locks nobody out."
echo "rotatessh-agent: 'rotatessh-agent purge-keys', before the removal, would have removed them."
exit 0
