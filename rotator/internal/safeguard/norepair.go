//go:build rotatessh_norepair

package safeguard

// Repair is switched off.
const Repair = false
