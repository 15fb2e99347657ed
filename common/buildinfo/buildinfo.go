// Package buildinfo tells which version of RotateSSH is running.
package buildinfo

import "runtime/debug"

// version is set by the linker for releases: -X github.com/rotatessh/rotatessh/common/buildinfo.version=v1.2.3
var version string

// Version is the release's version, or what the Go toolchain recorded about the module, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
