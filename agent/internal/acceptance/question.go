package acceptance

import (
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// question is one key and what sshd has said about it.
type question struct {
	key         ssh.PublicKey
	fingerprint string
	sent        bool // the query went out
	accepted    bool // sshd answered SSH_MSG_USERAUTH_PK_OK
}

func newQuestion(key keyset.PublicKey) *question {
	return &question{key: key.SSH(), fingerprint: key.Fingerprint()}
}

// signer is a question in the only shape in which x/crypto/ssh sends a query. It signs nothing: being asked
// to is the news that sshd accepts the key.
type signer struct{ q *question }

var _ ssh.MultiAlgorithmSigner = signer{}

func (s signer) PublicKey() ssh.PublicKey { return offered{PublicKey: s.q.key, q: s.q} }

// Algorithms leaves out RSA with SHA-1: today's controllers do not sign with it, so that sshd's agreement to
// it would prove nothing.
func (s signer) Algorithms() []string {
	if s.q.key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{s.q.key.Type()}
}

func (s signer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s signer) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	s.q.accepted = true
	return nil, errNeverSigns
}

// offered notes that its blob was taken for a query. x/crypto/ssh sends none when sshd and the signer have no
// signature algorithm in common, and does not tell.
type offered struct {
	ssh.PublicKey
	q *question
}

func (o offered) Marshal() []byte {
	o.q.sent = true
	return o.PublicKey.Marshal()
}
