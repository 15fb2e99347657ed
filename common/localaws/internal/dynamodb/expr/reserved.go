package expr

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed reserved.txt
var reservedText string

// reservedWords are the words that may stand in an expression only behind a # placeholder, sorted.
var reservedWords = sync.OnceValue(func() []string {
	words := strings.Fields(reservedText)
	slices.Sort(words)
	return words
})

func reserved(word string) bool {
	_, found := slices.BinarySearch(reservedWords(), strings.ToUpper(word))
	return found
}
