package rotation_test

import (
	"testing"

	"github.com/rotatessh/rotatessh/common/keyset"
)

func TestRotationsFromAnEmptySecretOnwards(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.followPublications()
	first := r.rotate()
	_, pair := r.labelled("AWSCURRENT")
	doc := r.document()
	if current, _ := doc.Keyset.Find(keyset.Current); current.PublicKey != pair.PublicKey() || current.VersionID != first {
		t.Errorf("current key of the keyset is %v of version %s, AWSCURRENT holds %v of %s", current.PublicKey, current.VersionID, pair, first)
	}
	second := r.rotate()
	_, next := r.labelled("AWSCURRENT")
	doc = r.document()
	if next.PublicKey() == pair.PublicKey() {
		t.Error("second rotation kept the key")
	}
	if current, _ := doc.Keyset.Find(keyset.Current); current.PublicKey != next.PublicKey() || current.VersionID != second {
		t.Errorf("current key of the keyset is of version %s, want %s", current.VersionID, second)
	}
	if retiring, _ := doc.Keyset.Find(keyset.Retiring); retiring.PublicKey != pair.PublicKey() {
		t.Errorf("retiring key is %v, want the first one", retiring.PublicKey)
	}
	if doc.Keyset.Generation != 4 {
		t.Errorf("two rotations made %d generations, want two each", doc.Keyset.Generation)
	}
	if version, _ := r.labelled("AWSPENDING"); version != "" {
		t.Errorf("AWSPENDING is left over on %s", version)
	}
}
