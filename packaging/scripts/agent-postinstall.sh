#!/bin/sh
# Runs after installation and upgrade, from DEB ("configure", old version) and RPM (1: first, 2: upgrade).
# Enables and starts nothing: an agent that nobody has configured must not write as root.
set -e

upgrade=no
case "${1:-}" in
configure) [ -z "${2:-}" ] || upgrade=yes ;;
2) upgrade=yes ;;
1) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	if [ "$upgrade" = yes ]; then
		systemctl try-restart rotatessh-agent.service || true
	fi
fi

if [ "$upgrade" = no ]; then
	echo "rotatessh-agent: not started yet. Edit /etc/rotatessh/agent.yaml, run 'rotatessh-agent check', then:"
	echo "  systemctl enable --now rotatessh-agent"
fi
exit 0
