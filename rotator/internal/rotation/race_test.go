//go:build race

package rotation_test

// slowly says that the race detector is on, under which each call takes ten times as long.
const slowly = true
