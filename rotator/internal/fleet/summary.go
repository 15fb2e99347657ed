package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// named is how many laggards a Summary names: an error message is read in a log line or an e-mail.
const named = 10

// Summary says in one line how many workers are ready, and which are not and why: all counts by code, and
// the first few laggards.
func (r Readiness) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s ready", plural.Share(len(r.Ready), r.Expected, "worker"), plural.Verb(len(r.Ready), "is", "are"))
	for i, w := range r.Unverified[:min(named, len(r.Unverified))] {
		fmt.Fprintf(&b, "%s%s", separator(i, fmt.Sprintf(", %d without a word of their sshd, as the settings allow: ", len(r.Unverified))), w.ID)
	}
	if len(r.Exempt) > 0 {
		fmt.Fprintf(&b, ", %d still booting", len(r.Exempt))
	}
	for i, w := range r.Untagged[:min(named, len(r.Untagged))] {
		fmt.Fprintf(&b, "%s%s", separator(i, fmt.Sprintf(", %d counted although they have lost their tag or group: ", len(r.Untagged))), w.ID)
	}
	for i, l := range r.Waived[:min(named, len(r.Waived))] {
		fmt.Fprintf(&b, "%s%s (%s)", separator(i, fmt.Sprintf(", %d waived: ", len(r.Waived))), ledger.InstanceID(l.Worker), l.Code)
	}
	if len(r.Laggards) == 0 {
		return b.String()
	}
	for i, code := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&b, "%s%s %d", separator(i, "; not ready: "), code, r.Reasons[code])
	}
	for i, l := range r.Laggards[:min(named, len(r.Laggards))] {
		fmt.Fprintf(&b, "%s%s (%s: %s)", separator(i, "; "), ledger.InstanceID(l.Worker), l.Code, l.Message)
	}
	if more := len(r.Laggards) - named; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ", "
}
