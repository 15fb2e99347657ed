package keypair

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// revokedMember is the member of the secret that lists revoked keys.
const revokedMember = "RotateSSHRevoked"

// maxRevoked bounds the list, which is carried along by every later version. The oldest leave it first.
const maxRevoked = 64

// Revoked are the fingerprints of keys that nobody may use or accept any more, the newest first. The list
// is part of the secret's value, so that AWSCURRENT's arrival at a version and the end of the keys that this
// version revokes are one and the same event. The caller must not change it.
func (p Pair) Revoked() []string {
	if p.IsZero() {
		return nil
	}
	return p.reveal().revoked
}

// Revokes reports whether p's version revokes the key of that fingerprint.
func (p Pair) Revokes(fingerprint string) bool { return slices.Contains(p.Revoked(), fingerprint) }

// Revoking is p with these fingerprints before those that it revokes already. It never revokes itself.
func (p Pair) Revoking(fingerprints []string) (Pair, error) {
	m := *p.reveal()
	var all []string
	for _, f := range slices.Concat(fingerprints, m.revoked) {
		if !slices.Contains(all, f) && f != m.public.Fingerprint() {
			all = append(all, f)
		}
	}
	m.revoked = all[:min(len(all), maxRevoked)]
	list, err := json.Marshal(m.revoked)
	if err != nil {
		return Pair{}, err
	}
	extra := members{revokedMember: list}
	for name, value := range m.extra {
		if name != revokedMember {
			extra[name] = value
		}
	}
	m.extra = extra
	return seal(m), nil
}

// revoked reads the list. One that cannot be read is an error: a key would come back to life without it.
func (m members) revoked() ([]string, error) {
	raw, found := m[revokedMember]
	if !found {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxRevoked {
		return nil, fmt.Errorf("the secret's %s is not a list of at most %d fingerprints", revokedMember, maxRevoked)
	}
	for _, f := range list {
		if len(f) != len("SHA256:")+43 || !strings.HasPrefix(f, "SHA256:") {
			return nil, fmt.Errorf("the secret's %s holds something other than SHA-256 fingerprints", revokedMember)
		}
	}
	return list, nil
}
