//go:build rotatessh_nowindow

package safeguard

// Window is switched off.
const Window = false
