package sshclient

import (
	"context"
	"errors"
	"io"

	"golang.org/x/crypto/ssh"
)

// Refuses asks whether t refuses a log-in with key, of which only the public half is needed: a server says
// whether it accepts a key before anybody has to sign. It is true only for the answer that ErrAuth stands for,
// and false for a key that the server would go on with. An error means that there was no answer.
func Refuses(ctx context.Context, t Target, key ssh.PublicKey) (bool, error) {
	signer := &unwilling{key: key}
	client, err := Dial(ctx, t, signer)
	switch {
	case err == nil:
		return false, client.Close() // without a signature; not with any server that we know
	case signer.asked:
		return false, nil
	case errors.Is(err, ErrAuth):
		return true, nil
	}
	return false, err
}

// unwilling is a key that signs nothing. It is used by one goroutine.
type unwilling struct {
	key   ssh.PublicKey
	asked bool
}

var errUnwilling = errors.New("the server accepts the key")

func (u *unwilling) PublicKey() ssh.PublicKey { return u.key }

func (u *unwilling) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	u.asked = true
	return nil, errUnwilling
}

// SignWithAlgorithm makes RSA keys be offered with SHA-2, without which servers refuse them all.
func (u *unwilling) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	return u.Sign(nil, nil)
}
