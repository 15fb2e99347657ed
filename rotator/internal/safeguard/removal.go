//go:build !rotatessh_noremoval

package safeguard

// Removal has an old key removed from workers without an agent, too.
const Removal = true
