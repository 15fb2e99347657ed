package sshdconf

import (
	"slices"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// JudgeAccepted turns sshd's answer about a key that is to be accepted into what can be said of a log-in of the
// controller. readBack says that the key was read back from the managed file; a yes without it comes from
// somewhere else, such as AuthorizedKeysCommand, and may be gone with the next log-in.
func (r Report) JudgeAccepted(accepted ledger.Accepted, why string, readBack bool) (ledger.Accepted, string) {
	if accepted == ledger.Unverified {
		return accepted, why
	}
	if f, ok := r.weighing(Elsewhere); ok {
		return ledger.Unverified, describe(f)
	}
	if accepted == ledger.No {
		if f, ok := r.weighing(Explains, Denies, Doubts); ok {
			return ledger.No, describe(f)
		}
		return ledger.No, why
	}
	if f, ok := r.weighing(Denies); ok {
		return ledger.No, describe(f)
	}
	if f, ok := r.weighing(Doubts); ok {
		return ledger.Unverified, describe(f)
	}
	if !readBack {
		return ledger.Unverified, "sshd accepts the key from elsewhere than the managed file"
	}
	return ledger.Yes, why
}

// JudgeRefused is the same for a key that is to be refused. A yes stays one: it is an alarm. A no from here says
// nothing about the controller where sshd treats it otherwise.
func (r Report) JudgeRefused(accepted ledger.Accepted, why string) (ledger.Accepted, string) {
	if f, ok := r.weighing(Elsewhere); ok && accepted == ledger.No {
		return ledger.Unverified, describe(f)
	}
	return accepted, why
}

func (r Report) weighing(weights ...Weight) (Finding, bool) {
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return slices.Contains(weights, f.Weight) }); i >= 0 {
		return r.Findings[i], true
	}
	return Finding{}, false
}

func describe(f Finding) string { return string(f.Code) + ": " + f.Message }
