package report

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// noon is when everything is looked at.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// seeded is the same public key for the same number.
func seeded(t testing.TB, n byte) keyset.PublicKey {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyset.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// estate is a fleet of so many workers in the middle of a rotation from "old" to "new", published a minute before
// noon. Nobody has acknowledged anything.
type estate struct {
	Facts
	current, pending, before keyset.PublicKey
}

func newEstate(t testing.TB, workers int) *estate {
	t.Helper()
	e := &estate{before: seeded(t, 1), current: seeded(t, 2), pending: seeded(t, 3)}
	published := noon.Add(-time.Minute)
	e.Facts = Facts{
		Now: noon, Published: true, Acks: make(map[string]ledger.Ack),
		Secret: Secret{Name: "/dev/ssh", ARN: "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf", RotationEnabled: true,
			LastRotated: noon.Add(-720 * time.Hour), Versions: []Version{
				{ID: "version-old", Labels: []string{LabelCurrent}, Created: noon.Add(-720 * time.Hour)},
				{ID: "version-new", Labels: []string{LabelPending}, Created: published.Add(-time.Second)},
			}},
		Document: keystore.Document{ARN: "arn:keyset", VersionID: "document", Keyset: keyset.Keyset{
			Schema: keyset.Schema, Generation: 7,
			Keys: []keyset.Key{
				{State: keyset.Current, VersionID: "version-old", PublicKey: e.current}, {State: keyset.Pending, VersionID: "version-new", PublicKey: e.pending},
			},
			Retired: []keyset.Retired{{Fingerprint: e.before.Fingerprint(), VersionID: "version-before", PublicKey: e.before}},
		}},
		Beacon: ledger.Beacon{Generation: 7, PublishedAt: published},
	}
	for n := range workers {
		e.Workers = append(e.Workers, fleet.Worker{
			ARN: fmt.Sprintf("arn:aws:ec2:us-east-1:111122223333:instance/i-%017x", n), ID: fmt.Sprintf("i-%017x", n),
			Name: fmt.Sprintf("node-%d", n), Address: fmt.Sprintf("10.0.%d.%d", n/250, n%250), Zone: "us-east-1" + string(rune('a'+n%3)), Launched: noon.Add(-48 * time.Hour),
		})
	}
	return e
}

// ack makes worker n acknowledge the keyset in force, so long after its publication, and lets change spoil it.
func (e *estate) ack(n int, after time.Duration, change func(*ledger.Ack)) {
	k := e.Document.Keyset.Effective(e.Now)
	u := ledger.User{Name: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys"}
	for _, key := range k.Keys {
		u.Fingerprints = append(u.Fingerprints, key.PublicKey.Fingerprint())
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: key.PublicKey.Fingerprint(), State: string(key.State), Accepted: ledger.Yes})
	}
	for _, r := range k.Retired {
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: r.Fingerprint, State: stateRetired, Accepted: ledger.No})
	}
	at := e.Beacon.PublishedAt.Add(after)
	a := ledger.Ack{
		Worker: e.Workers[n].ARN, SecretARN: e.Secret.ARN, KeysetARN: e.Document.ARN, KeysetVersionID: e.Document.VersionID, Generation: k.Generation, Pass: 1,
		Outcome: ledger.Applied, Users: []ledger.User{u}, HostKeys: []string{"ssh-ed25519 AAAA"}, Port: 22, Banner: "SSH-2.0-OpenSSH_9.2p1", AgentVersion: "0.1.0",
		AppliedAt: at, ReportedAt: at,
	}
	if change != nil {
		change(&a)
	}
	e.Acks[a.Worker] = a
}

// promote completes the rotation: the new key is current, and the old one's time ends so long after noon.
func (e *estate) promote(end time.Duration) {
	e.Secret.Versions = []Version{
		{ID: "version-new", Labels: []string{LabelCurrent}, Created: noon.Add(-time.Minute)}, {ID: "version-old", Labels: []string{LabelPrevious}, Created: noon.Add(-720 * time.Hour)},
	}
	e.Secret.LastRotated = noon
	e.Document.VersionID, e.Document.Keyset.Generation = "document-2", 8
	e.Document.Keyset.Keys = []keyset.Key{
		{State: keyset.Current, VersionID: "version-new", PublicKey: e.pending},
		{State: keyset.Retiring, VersionID: "version-old", PublicKey: e.current, NotAfter: noon.Add(end)},
	}
	e.Beacon.Generation, e.Beacon.PublishedAt = 8, noon.Add(-30*time.Second)
}

// failed spoils an acknowledgement.
func failed(code, message string) func(*ledger.Ack) {
	return func(a *ledger.Ack) { a.Outcome, a.Code, a.Message = ledger.Failed, code, message }
}
