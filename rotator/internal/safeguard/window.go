//go:build !rotatessh_nowindow

package safeguard

// Window lets one request in ten minutes start a rotation, and no more.
const Window = true
