//go:build rotatessh_nooverlap

package rotation

import "github.com/rotatessh/rotatessh/common/keyset"

// arranged takes the overlap away: the newest key alone is accepted, from its publication on. It locks
// controllers out, on purpose, and is for one test only.
func arranged(k keyset.Keyset) keyset.Keyset {
	newest, found := k.Find(keyset.Pending)
	if !found {
		newest, found = k.Find(keyset.Current)
	}
	if !found {
		return k
	}
	newest.State = keyset.Current
	var gone []keyset.Retired
	for _, key := range k.Keys {
		if key.PublicKey != newest.PublicKey {
			gone = append(gone, keyset.Retired{Fingerprint: key.PublicKey.Fingerprint(), VersionID: key.VersionID, PublicKey: key.PublicKey})
		}
	}
	k.Keys = []keyset.Key{newest}
	k.Retired = append(gone, k.Retired...)
	return k
}
