package sshdconf

import (
	"crypto/rsa"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// refusedKinds describes the keys that sshd refuses for their kind, each kind once.
func (s Settings) refusedKinds(keys []keyset.PublicKey) []string {
	var kinds []string
	for _, key := range keys {
		if kind := s.refusedKind(key); kind != "" && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (s Settings) refusedKind(key keyset.PublicKey) string {
	accepted := s.first("pubkeyacceptedalgorithms")
	if accepted != "" && !slices.ContainsFunc(signatureAlgorithms(key), func(name string) bool { return matchList(name, accepted) == matched }) {
		return fmt.Sprintf("%s keys: PubkeyAcceptedAlgorithms lists none of %s", key.Type(), strings.Join(signatureAlgorithms(key), ", "))
	}
	least, err := strconv.Atoi(s.first("requiredrsasize"))
	if bits := rsaBits(key); err == nil && bits > 0 && bits < least {
		return fmt.Sprintf("RSA keys of %d bits: RequiredRSASize is %d", bits, least)
	}
	return ""
}

// signatureAlgorithms is what a controller signs with: never SHA-1.
func signatureAlgorithms(key keyset.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

func rsaBits(key keyset.PublicKey) int {
	if holder, ok := key.SSH().(ssh.CryptoPublicKey); ok {
		if public, ok := holder.CryptoPublicKey().(*rsa.PublicKey); ok {
			return public.N.BitLen()
		}
	}
	return 0
}
