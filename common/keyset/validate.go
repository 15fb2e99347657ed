package keyset

import (
	"encoding/base64"
	"regexp"
	"strings"
)

var (
	secretARN = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}$`)
	// Secrets Manager takes 32 to 64 characters as ClientRequestToken, which becomes the version id.
	versionID = regexp.MustCompile(`^[A-Za-z0-9-]{32,64}$`)
)

// Validate reports the first thing that is wrong with k as an *Invalid, or nil.
func (k Keyset) Validate() error {
	if k.Schema != Schema {
		return invalid(CodeSchema, "keyset has schema %.40q, this program reads %q", k.Schema, Schema)
	}
	if !secretARN.MatchString(k.SecretARN) {
		return invalid(CodeBadSecret, "secretArn %.80q is not the ARN of a secret", k.SecretARN)
	}
	if k.Generation < 1 || k.Generation > MaxGeneration {
		return invalid(CodeGeneration, "generation %d is not between 1 and %d", k.Generation, int64(MaxGeneration))
	}
	if len(k.Keys) == 0 {
		return invalid(CodeNoKeys, "keyset holds no key")
	}
	seen := make(map[string]bool)
	if err := k.validateKeys(seen); err != nil {
		return err
	}
	return k.validateRetired(seen)
}

func (k Keyset) validateKeys(seen map[string]bool) error {
	count := make(map[State]int)
	for _, key := range k.Keys {
		if err := key.validate(); err != nil {
			return err
		}
		fingerprint := key.PublicKey.Fingerprint()
		if seen[fingerprint] {
			return invalid(CodeDuplicate, "key %s is listed twice", fingerprint)
		}
		seen[fingerprint] = true
		count[key.State]++
		if key.State != Retiring && count[key.State] > 1 {
			return invalid(CodeState, "keyset holds more than one %s key", key.State)
		}
	}
	return nil
}

func (key Key) validate() error {
	switch key.State {
	case Current, Pending:
		if !key.NotAfter.IsZero() {
			return invalid(CodeNotAfter, "a %s key has a notAfter", key.State)
		}
	case Retiring:
		if key.NotAfter.IsZero() {
			return invalid(CodeNotAfter, "a retiring key has no notAfter")
		}
		if year := key.NotAfter.UTC().Year(); year < 2000 || year > 9999 {
			return invalid(CodeNotAfter, "notAfter in the year %d is not a date that JSON can carry and a key can reach", year)
		}
	default:
		return invalid(CodeState, "state %.20q is unknown", string(key.State))
	}
	if key.PublicKey.IsZero() {
		return invalid(CodeBadKey, "a %s key has no publicKey", key.State)
	}
	if !versionID.MatchString(key.VersionID) {
		return invalid(CodeBadVersion, "versionId %.80q is not a version id", key.VersionID)
	}
	return nil
}

func (k Keyset) validateRetired(seen map[string]bool) error {
	if len(k.Retired) > MaxRetired {
		return invalid(CodeRetired, "%d retired keys are more than %d", len(k.Retired), MaxRetired)
	}
	for _, r := range k.Retired {
		if !validFingerprint(r.Fingerprint) {
			return invalid(CodeRetired, "retired fingerprint %.80q is not a SHA-256 fingerprint", r.Fingerprint)
		}
		if !r.PublicKey.IsZero() && r.PublicKey.Fingerprint() != r.Fingerprint {
			return invalid(CodeRetired, "retired key %s has another key's publicKey", r.Fingerprint)
		}
		if r.VersionID != "" && !versionID.MatchString(r.VersionID) {
			return invalid(CodeBadVersion, "versionId %.80q is not a version id", r.VersionID)
		}
		if seen[r.Fingerprint] {
			return invalid(CodeDuplicate, "key %s is listed twice", r.Fingerprint)
		}
		seen[r.Fingerprint] = true
	}
	return nil
}

func validFingerprint(s string) bool {
	encoded, found := strings.CutPrefix(s, "SHA256:")
	if !found {
		return false
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	return err == nil && len(sum) == 32
}
