//go:build rotatessh_noorphan

package safeguard

// Orphan is switched off.
const Orphan = false
