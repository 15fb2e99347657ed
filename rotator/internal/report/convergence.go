package report

import (
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Convergence tells how fast the fleet followed, as the times in its acknowledgements say. They come from AWS's clock
// as each worker knows it, and are good to about a second.
//
// A worker's time to ready is the time of the acknowledgement by which it became ready less the time at which
// the keyset with the new key was published. Its time to retired is that of the acknowledgement by which its sshd
// refused the old key less the time at which that key ended. Percentiles are by nearest rank over the workers
// that count, those that are not there yet being infinitely slow.
type Convergence struct {
	Fingerprint string `json:"fingerprint"` // of the key
	ledger.Spread
	P50 *float64 `json:"p50"` // seconds; null while fewer workers have done it
	P99 *float64 `json:"p99"`
}

func converged(fingerprint string, s ledger.Spread) *Convergence {
	c := &Convergence{Fingerprint: fingerprint, Spread: s}
	for percent, into := range map[int]**float64{50: &c.P50, 99: &c.P99} {
		if d, known := s.Percentile(percent); known {
			seconds := d.Seconds()
			*into = &seconds
		}
	}
	return c
}

// readiness looks at the acknowledgements themselves while the key is pending. Once it is current, workers have
// acknowledged another keyset since, and what counts is what the rotator recorded before the switch.
func (f Facts) readiness(r Report) *Convergence {
	if r.Keyset == nil {
		return nil
	}
	key := nextKey(f.Document.Keyset)
	if key.State != keyset.Pending {
		return recorded(r.Records, key.PublicKey.Fingerprint(), func(record ledger.Report) bool {
			return record.Phase == phaseTest && record.VersionID == key.VersionID
		})
	}
	if r.Keyset.PublishedAt.IsZero() {
		return nil
	}
	s := ledger.NewSpread(r.Keyset.PublishedAt, r.Summary.Expected, times(r.Workers, func(w Worker) bool { return w.State == Ready }))
	return converged(key.PublicKey.Fingerprint(), s)
}

// retirement does the same for the old key: its end is known as long as the keyset lists it as retiring.
func (f Facts) retirement(r Report) *Convergence {
	if r.OldKey == nil || !r.OldKey.NotAfter.IsZero() {
		return nil
	}
	for _, k := range f.Document.Keyset.Keys {
		if k.State == keyset.Retiring && k.PublicKey.Fingerprint() == r.OldKey.Fingerprint {
			at := times(r.Workers, func(w Worker) bool { return w.OldKeyRefused == RefusedYes })
			return converged(r.OldKey.Fingerprint, ledger.NewSpread(k.NotAfter, max(r.Summary.Expected, len(at)), at))
		}
	}
	// The version that replaced it is the current one, and the record of its end is filed under that.
	return recorded(r.Records, r.OldKey.Fingerprint, func(record ledger.Report) bool {
		return record.Phase == phaseSteady && record.VersionID == r.Secret.Holder(LabelCurrent)
	})
}

func times(rows []Worker, are func(Worker) bool) []time.Time {
	var at []time.Time
	for _, w := range rows {
		if are(w) {
			at = append(at, w.AppliedAt)
		}
	}
	return at
}

// recorded is the newest record's that fits.
func recorded(records []ledger.Report, fingerprint string, fits func(ledger.Report) bool) *Convergence {
	for _, record := range records {
		if record.Spread != nil && fits(record) {
			return converged(fingerprint, *record.Spread)
		}
	}
	return nil
}
