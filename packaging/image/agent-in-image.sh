#!/bin/sh
# Puts the agent into a machine image: installs the package, configures it for one account, enables it, and makes sure
# that nothing of the machine on which the image is built stays behind. Image Builder and Packer run this.
#
# usage: agent-in-image.sh PACKAGE ACCOUNT
set -eu

package=${1:?usage: agent-in-image.sh PACKAGE ACCOUNT}
account=${2:?usage: agent-in-image.sh PACKAGE ACCOUNT}

case "$package" in
*.rpm) dnf install -y "$package" ;;
*.deb) apt-get install -y "$package" ;;
*) echo "agent-in-image.sh: $package is neither RPM nor DEB" >&2 && exit 1 ;;
esac

# The other settings have defaults; /usr/share/doc and the file that this replaces explain them.
cat >/etc/rotatessh/agent.yaml <<EOF
users:
  - name: $account
EOF

# Not started: who the machine is, is asked at every start, on the instance that boots the image.
systemctl enable rotatessh-agent.service

# An agent that ran here has left the highest generation it saw, by keyset and instance, and its block in
# authorized_keys. Neither would do harm: another instance starts its own record and replaces the block before sshd
# takes log-ins. But keys of the past have no business in an image.
systemctl stop rotatessh-agent.service 2>/dev/null || true
rm -rf /var/lib/rotatessh
rotatessh-agent purge-keys --yes
rm -rf /var/lib/rotatessh
