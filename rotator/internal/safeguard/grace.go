//go:build !rotatessh_nograce

package safeguard

// Grace lets a worker that was launched in mid-rotation boot before it counts.
const Grace = true
