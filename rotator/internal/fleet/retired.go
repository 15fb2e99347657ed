package fleet

import "github.com/rotatessh/rotatessh/common/ledger"

// Retirement tells what became of one retired key, worker by worker.
type Retirement struct {
	Refused   []Worker // every account's sshd refuses it, as acknowledged
	Accepting []Worker // some account's sshd still accepts it
	Unknown   []Worker // neither is known
}

// Retired is SortRetired for acknowledgements that are at hand.
func Retired(workers []Worker, acks map[string]ledger.Ack, fingerprint string) Retirement {
	answers := make(map[string]ledger.Accepted, len(workers))
	for _, w := range workers {
		if a, found := acks[w.ARN]; found {
			answers[w.ARN] = RetiredAt(a, fingerprint)
		}
	}
	return SortRetired(workers, answers)
}

// SortRetired sorts workers by their answers, which RetiredAt has found in their acknowledgements.
func SortRetired(workers []Worker, answers map[string]ledger.Accepted) Retirement {
	var r Retirement
	for _, w := range workers {
		switch answers[w.ARN] {
		case ledger.No:
			r.Refused = append(r.Refused, w)
		case ledger.Yes:
			r.Accepting = append(r.Accepting, w)
		default:
			r.Unknown = append(r.Unknown, w)
		}
	}
	return r
}

// retiredState is how an acknowledgement marks a key that must be refused.
const retiredState = "retired"

// RetiredAt is what a says about the key of that fingerprint since it is retired: the least favourable answer
// among all accounts.
func RetiredAt(a ledger.Ack, fingerprint string) ledger.Accepted {
	if len(a.Users) == 0 {
		return ledger.Unverified
	}
	answer := ledger.No
	for _, u := range a.Users {
		status := statusOf(u, fingerprint)
		switch {
		case status.State == retiredState && status.Accepted == ledger.Yes:
			return ledger.Yes
		case status.State != retiredState || status.Accepted != ledger.No:
			answer = ledger.Unverified
		}
	}
	return answer
}

// statusOf is the account's status of a key; unverified if it has none.
func statusOf(u ledger.User, fingerprint string) ledger.KeyStatus {
	for _, k := range u.Keys {
		if k.Fingerprint == fingerprint {
			return k
		}
	}
	return ledger.KeyStatus{Fingerprint: fingerprint, Accepted: ledger.Unverified, Why: "not reported"}
}
