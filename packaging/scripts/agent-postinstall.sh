#!/bin/sh
# Runs after installation and upgrade, from DEB ("configure" and the old version) and RPM (1: first, 2: upgrade).
# Enables and starts nothing: what is not configured must not write into homes.
set -e

upgrade=no
case "${1:-}" in
configure) [ -z "${2:-}" ] || upgrade=yes ;;
2) upgrade=yes ;;
1) ;;
*) exit 0 ;;
esac

# The agent's account owns no files but its state.
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers rotatessh-agent.conf
elif ! getent passwd rotatessh >/dev/null; then
	useradd --system --user-group --home-dir / --no-create-home --shell /usr/sbin/nologin rotatessh
fi

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	if [ "$upgrade" = yes ]; then
		# Debian's command asks the administrator's policy-rc.d first.
		if command -v deb-systemd-invoke >/dev/null; then
			deb-systemd-invoke try-restart rotatessh-agent.service || true
		else
			systemctl try-restart rotatessh-agent.service || true
		fi
	fi
fi

if [ "$upgrade" = no ]; then
	echo "rotatessh-agent: not started. Edit /etc/rotatessh/agent.yaml, run 'rotatessh-agent check', and then:"
	echo "  systemctl enable --now rotatessh-agent"
fi
exit 0
