package state

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
)

const memoryFile = "generations.json"

// Seen is the newest document that was ever seen of one keyset.
type Seen struct {
	Generation int64  `json:"generation"`
	Digest     string `json:"digest"`    // of the document of that generation
	VersionID  string `json:"versionId"` // under which it was read
	SecretARN  string `json:"secretArn"` // of the key-pair secret it is about
}

// memory is the file's content. It belongs to one instance: an image made of a machine carries the file, and the machines started
// from it begin afresh.
type memory struct {
	Instance string          `json:"instance"`
	Keysets  map[string]Seen `json:"keysets"` // by the keyset secret's ARN
	Reset    bool            `json:"reset,omitempty"`
}

// Memory holds the highest generations. It is safe for concurrent use within one process.
type Memory struct {
	dir      string
	instance string

	mu      sync.Mutex
	keysets map[string]Seen
	saved   bool // what is in keysets is on disk
	reset   bool // see Pending
}

// ErrUnreadable says that the file with the generations is there but cannot be read. Starting afresh would let an older keyset
// in, so that this is for an operator to decide, by removing the file.
var ErrUnreadable = errors.New("the record of generations cannot be read")

// OpenMemory reads the generations that the instance has seen. A missing file, or another instance's, means that it has seen none.
// Anything else that cannot be read is ErrUnreadable.
func OpenMemory(dir, instance string) (*Memory, error) {
	m := &Memory{dir: dir, instance: instance, keysets: make(map[string]Seen), saved: true}
	var on memory
	err := read(dir, memoryFile, &on)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if on.Instance == instance {
		maps.Copy(m.keysets, on.Keysets)
		m.reset = on.Reset
	}
	return m, nil
}

// Highest is the newest document seen of the keyset secret, and false if none was.
func (m *Memory) Highest(keysetARN string) (Seen, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.keysets[keysetARN]
	return s, ok
}

// Only is the one keyset secret that has been seen, and false if there was none or several. It serves a start at which the
// secret itself cannot be read.
func (m *Memory) Only() (keysetARN string, s Seen, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keysets) != 1 {
		return "", Seen{}, false
	}
	for keysetARN, s = range m.keysets {
	}
	return keysetARN, s, true
}

// Remember raises the keyset secret's highest generation to s and makes that durable. A lower one is ignored. After an error s is
// remembered in this process, and the next call tries again to make it durable.
func (m *Memory) Remember(keysetARN string, s Seen) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.keysets[keysetARN]
	if s.Generation < old.Generation || s == old && m.saved {
		return nil
	}
	m.keysets[keysetARN] = s
	m.saved = false
	if err := m.save(m.keysets, m.reset); err != nil {
		return fmt.Errorf("remembering generation %d: %w", s.Generation, err)
	}
	return nil
}
