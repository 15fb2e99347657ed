//go:build rotatessh_noremoval

package safeguard

// Removal is switched off.
const Removal = false
