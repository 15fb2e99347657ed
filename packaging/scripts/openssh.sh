#!/bin/sh
# Prints the path of an OpenSSH server, bringing one along where there is none. Starts no service.
#
# usage: openssh.sh FOLDER
#
# As root it installs the distribution's package, with the service kept from starting. As any other user it
# downloads the package into FOLDER and unpacks it there. Where neither works it says which command helps.
set -eu

folder=${1:?usage: openssh.sh FOLDER}

say() { echo "openssh.sh: $*" >&2; }

found() {
	for sshd in "${ROTATESSH_SSHD:-}" "$(command -v sshd || true)" /usr/sbin/sshd /usr/local/sbin/sshd "$folder/usr/sbin/sshd"; do
		if [ -n "$sshd" ] && [ -x "$sshd" ]; then
			echo "$sshd"
			return 0
		fi
	done
	return 1
}

# debian_install keeps the new service from starting: policy-rc.d is what Debian's packages ask.
debian_install() {
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		trap 'rm -f "$policy"' EXIT
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server >&2
}

# An RPM starts no service when it is installed.
install_as_root() {
	if command -v apt-get >/dev/null; then
		debian_install
	elif command -v dnf >/dev/null; then
		dnf install -y -q openssh-server >&2
	elif command -v yum >/dev/null; then
		yum install -y -q openssh-server >&2
	elif command -v apk >/dev/null; then
		apk add -q openssh-server >&2
	else
		return 1
	fi
}

# The libraries that a minimal system lacks come with the server.
unpack_as_user() {
	mkdir -p "$folder"
	if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
		(
			cd "$folder"
			for package in openssh-server libwrap0 libwtmpdb0 libselinux1 libaudit1 libpam0g libsystemd0 libgssapi-krb5-2 libkrb5-3 libcom-err2; do
				apt-get download -qq "$package" >&2 2>/dev/null || [ "$package" != openssh-server ]
			done
			for deb in *.deb; do dpkg-deb -x "$deb" .; done
			rm -f -- *.deb
		)
	elif command -v dnf >/dev/null && command -v rpm2cpio >/dev/null && command -v cpio >/dev/null; then
		(
			cd "$folder"
			dnf download -q openssh-server >&2
			for rpm in *.rpm; do rpm2cpio "$rpm" | cpio -idmu --quiet; done
			rm -f -- *.rpm
		)
	else
		return 1
	fi
}

if found; then exit 0; fi
if [ "$(id -u)" = 0 ]; then
	say "no sshd on this machine: installing openssh-server, without starting a service"
	install_as_root || say "no package manager that I know could install openssh-server"
else
	say "no sshd on this machine: unpacking openssh-server into $folder"
	unpack_as_user || say "the package could not be downloaded and unpacked"
fi
if found; then exit 0; fi
say "error: no OpenSSH server; install it with one of"
say "  sudo apt-get install openssh-server     (Debian, Ubuntu)"
say "  sudo dnf install openssh-server         (Amazon Linux, RHEL, Fedora)"
exit 1
