package keypair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Type is a kind of key that Generate makes.
type Type string

// The types. Each is written in the PEM form that both OpenSSH and paramiko read; PKCS#8, which paramiko
// cannot read, is never written.
const (
	ED25519   Type = "ed25519"    // OpenSSH's own form
	RSA3072   Type = "rsa-3072"   // PKCS#1
	RSA4096   Type = "rsa-4096"   // PKCS#1
	ECDSAP256 Type = "ecdsa-p256" // SEC1
)

// Default is the type of the first pair where nothing else is asked for.
const Default = ED25519

// ParseType gives the Type of that name.
func ParseType(name string) (Type, error) {
	switch t := Type(name); t {
	case ED25519, RSA3072, RSA4096, ECDSAP256:
		return t, nil
	}
	return "", fmt.Errorf("key type %.40q is not one of %s, %s, %s, %s", name, ED25519, RSA3072, RSA4096, ECDSAP256)
}

func (t Type) generate() (crypto.PrivateKey, error) {
	switch t {
	case ED25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	_, err := ParseType(string(t))
	return nil, err
}

func marshalPEM(key crypto.PrivateKey) ([]byte, error) {
	var block *pem.Block
	var err error
	switch k := key.(type) {
	case ed25519.PrivateKey:
		block, err = ssh.MarshalPrivateKey(k, "")
	case *rsa.PrivateKey:
		block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}
	case *ecdsa.PrivateKey:
		block = &pem.Block{Type: "EC PRIVATE KEY"}
		block.Bytes, err = x509.MarshalECPrivateKey(k)
	default:
		err = errors.New("unknown kind of private key")
	}
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

// successor maps every key that Decode reads to the type of its successor: an RSA reader keeps getting RSA
// keys, of a size that is at least as large as before where there is one.
func successor(key crypto.PrivateKey) Type {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() > 3072 {
			return RSA4096
		}
		return RSA3072
	case *ecdsa.PrivateKey:
		return ECDSAP256
	}
	return ED25519
}
