// Package plural counts things in sentences for people. It knows English nouns that form their plural with an s.
package plural

import "fmt"

// Of counts: "1 worker", "2 workers".
func Of(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Share counts a part: "1 of 1 worker", "1 of 2 workers".
func Share(n, of int, noun string) string { return fmt.Sprintf("%d of %s", n, Of(of, noun)) }

// Verb is the form that goes with n of something: "is" for one, "are" for any other number.
func Verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
