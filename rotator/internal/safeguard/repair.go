//go:build !rotatessh_norepair

package safeguard

// Repair lets AWSCURRENT's event and the schedule complete what a rotator that died has left undone.
const Repair = true
