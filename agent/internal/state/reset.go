package state

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

const resetFile = "reset.json"

// Reset is an operator's order to forget generations, after which an older keyset is followed. It is a file in the state folder, so
// that a running agent can be told.
type Reset struct {
	By     string          `json:"by"`     // who asks
	At     time.Time       `json:"at"`     // when, by the machine's clock
	Forget map[string]Seen `json:"forget"` // what is to be forgotten, by the keyset secret's ARN
}

// ResetPath is where an order lies until it has been carried out.
func ResetPath(dir string) string { return filepath.Join(dir, resetFile) }

// OrderReset leaves an order for whoever calls Memory.Take next. A later order takes the place of an earlier one.
func OrderReset(dir string, r Reset) error {
	if err := replace(dir, resetFile, r); err != nil {
		return fmt.Errorf("ordering a reset of generations: %w", err)
	}
	return nil
}

// Remembered reads what is remembered in dir, and for which instance, without an agent. Nothing is remembered where there is no file.
func Remembered(dir string) (instance string, keysets map[string]Seen, err error) {
	var on memory
	err = read(dir, memoryFile, &on)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return on.Instance, on.Keysets, nil
}

// Take carries an order out, if there is one: it forgets, durably, what the order names and what is still as the order says. It
// returns the order with what was forgotten. After an error the order stands, and nothing is forgotten.
func (m *Memory) Take() (r Reset, ordered bool, err error) {
	err = read(m.dir, resetFile, &r)
	if errors.Is(err, fs.ErrNotExist) {
		return Reset{}, false, nil
	}
	if err != nil {
		return Reset{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(r.Forget, func(arn string, s Seen) bool { return m.keysets[arn] != s })
	if len(r.Forget) > 0 {
		left := maps.Clone(m.keysets)
		maps.DeleteFunc(left, func(arn string, _ Seen) bool { _, gone := r.Forget[arn]; return gone })
		if err := m.save(left, true); err != nil {
			return Reset{}, false, fmt.Errorf("forgetting generations: %w", err)
		}
	}
	// Should the order stay, it finds nothing to forget the next time.
	return r, true, os.Remove(ResetPath(m.dir))
}

// Pending reports whether generations have been forgotten since the last Settle, in this run or an earlier one: the ledger may hold an
// acknowledgement of a higher generation than those to come.
func (m *Memory) Pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reset
}

// Settle ends what Pending reports.
func (m *Memory) Settle() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.save(m.keysets, false); err != nil {
		return fmt.Errorf("ending a reset of generations: %w", err)
	}
	return nil
}

// save makes the content durable and, if that succeeds, the one in memory. The lock is held.
func (m *Memory) save(keysets map[string]Seen, reset bool) error {
	if err := replace(m.dir, memoryFile, memory{Instance: m.instance, Keysets: keysets, Reset: reset}); err != nil {
		return err
	}
	m.keysets, m.reset, m.saved = keysets, reset, true
	return nil
}
