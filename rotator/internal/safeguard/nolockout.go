//go:build rotatessh_nolockout

package safeguard

// Lockout is switched off.
const Lockout = false
