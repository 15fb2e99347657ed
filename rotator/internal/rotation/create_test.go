package rotation_test

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

func TestTypeOfTheNewKey(t *testing.T) {
	for _, c := range []struct {
		name    string
		initial keypair.Type // "": {}
		policy  keypair.Type
		want    keypair.Type
	}{
		{"first key", "", "", keypair.ED25519},
		{"first key by policy", "", keypair.ECDSAP256, keypair.ECDSAP256},
		{"as before", keypair.ECDSAP256, "", keypair.ECDSAP256},
		{"as before, RSA", keypair.RSA3072, "", keypair.RSA3072},
		{"changed by policy", keypair.ED25519, keypair.RSA3072, keypair.RSA3072},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, func(r *rig) {
				r.policy.KeyType = c.policy
				if c.initial == "" {
					return
				}
				pair, err := keypair.Generate(c.initial)
				if err != nil {
					t.Fatal(err)
				}
				if r.initial, err = pair.Encode("before"); err != nil {
					t.Fatal(err)
				}
			})
			r.followPublications()
			token := r.rotate()
			_, pair := r.labelled("AWSCURRENT")
			if pair.Successor() != c.want {
				t.Errorf("new key is of type %s, want %s", pair.Successor(), c.want)
			}
			if value := r.versions()[token].Value; !strings.Contains(value, pair.PublicKey().String()+" "+token) {
				t.Error("the public key's comment is not the version id")
			}
		})
	}
}

func TestOtherMembersOfTheSecretSurviveRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) {
		r.initial = strings.Replace(existingSecret(t), "{", `{"owner":"team-7","ports":[22,2222],`, 1)
	})
	r.followPublications()
	r.rotate()
	token := r.rotate()
	for _, want := range []string{`"owner":"team-7"`, `"ports":[22,2222]`} {
		if !strings.Contains(r.versions()[token].Value, want) {
			t.Errorf("the secret has lost %s", want)
		}
	}
}
