package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// Proofs are what real log-ins and a look at the files have shown after a rotation.
type Proofs struct {
	OldKeyRefused    int // workers that refused every earlier key after a completed handshake
	NewKeyAccepted   int // workers that ran a command for the new key
	ForeignLinesKept int // workers whose authorized_keys is unchanged outside the managed block
	Doubts           []error
}

// Prove tries r's key and every earlier one on every worker.
func (f *Fleet) Prove(ctx context.Context, r Rotation) Proofs {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	var mu sync.Mutex
	var p Proofs
	count := func(n *int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			*n++
			return
		}
		p.Doubts = append(p.Doubts, err)
	}
	var g errgroup.Group
	g.SetLimit(4)
	for _, w := range f.Workers() {
		g.Go(func() error {
			count(&p.OldKeyRefused, refusesAll(ctx, w, r.Previous))
			count(&p.NewKeyAccepted, logIn(ctx, w, r.Pair))
			count(&p.ForeignLinesKept, f.keepsForeign(w))
			return nil
		})
	}
	_ = g.Wait() // none of them returns an error
	return p
}

// refusesAll is nil if the worker answers each key with a refusal. A connection that breaks earlier proves
// nothing.
func refusesAll(ctx context.Context, w *Worker, pairs []keypair.Pair) error {
	for _, pair := range pairs {
		client, err := sshclient.Dial(ctx, w.Target(), pair.Signer())
		if err == nil {
			return errors.Join(fmt.Errorf("%s still accepts the old key %s", w.Name, pair.Fingerprint()), client.Close())
		}
		if !errors.Is(err, sshclient.ErrAuth) {
			return fmt.Errorf("trying the old key %s: %w", pair.Fingerprint(), err)
		}
	}
	return nil
}

func (f *Fleet) keepsForeign(w *Worker) error {
	kept, err := w.foreignKept(f.resources.secretARN)
	if err == nil && !kept {
		err = fmt.Errorf("%s: lines outside the managed block have changed", w.Name)
	}
	return err
}

// Copied is a file that was copied to a worker.
type Copied struct {
	Bytes       int64 `json:"bytes"`
	SHA256Match bool  `json:"sha256Match"`
}

// copySize is large enough for several SFTP packets.
const copySize = 1 << 20

// Copy uploads a file of random bytes to the first worker with r's key, and compares what has arrived.
func (f *Fleet) Copy(ctx context.Context, r Rotation) (Copied, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	content := make([]byte, copySize)
	if _, err := rand.Read(content); err != nil {
		return Copied{}, err
	}
	source := filepath.Join(f.folder.path, "copied")
	if err := os.WriteFile(source, content, 0o600); err != nil {
		return Copied{}, err
	}
	w := f.Workers()[0]
	if err := upload(ctx, w, r.Pair, source); err != nil {
		return Copied{}, fmt.Errorf("copying a file: %w", err)
	}
	arrived, err := os.ReadFile(filepath.Join(w.home(), filepath.Base(source)))
	if err != nil {
		return Copied{}, fmt.Errorf("reading the copied file: %w", err)
	}
	return Copied{Bytes: int64(len(arrived)), SHA256Match: digest(arrived) == digest(content)}, nil
}

func upload(ctx context.Context, w *Worker, pair keypair.Pair, source string) error {
	client, err := sshclient.Dial(ctx, w.Target(), pair.Signer())
	if err != nil {
		return err
	}
	defer client.Close()
	sources, err := sshclient.LocalSources([]string{source}, false)
	if err != nil {
		return err
	}
	_, err = client.Upload(ctx, sources, w.home(), nil)
	return err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
