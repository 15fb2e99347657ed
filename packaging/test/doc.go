// Package installtest installs what is shipped into real systems and watches it work: the DEB in a Debian that systemd boots inside a
// container, with a real sshd, an instance metadata service and an AWS endpoint of its own; the RPM by rpm and dnf in throw-away roots.
//
// Everything is in tests behind the build tag installtest, which need root and Debian's tools: make package-test brings them along.
// They print a table of what was done and seen.
package installtest

// repository is the module's folder, seen from this one.
const repository = "../.."
