//go:build rotatessh_norelist

package safeguard

// Relist is switched off.
const Relist = false
