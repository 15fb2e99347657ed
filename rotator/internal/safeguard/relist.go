//go:build !rotatessh_norelist

package safeguard

// Relist lets the gate look into the inventory again while it waits, and forget workers that are gone.
const Relist = true
