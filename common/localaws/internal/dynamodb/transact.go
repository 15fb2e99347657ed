package dynamodb

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const (
	maxTransact = 100
	// tokenLife is how long a ClientRequestToken makes a repeated transaction a success without effect.
	tokenLife = 10 * time.Minute
)

// transactToken remembers what a ClientRequestToken stood for.
type transactToken struct {
	content [sha256.Size]byte
	at      time.Time
}

type transactItem struct {
	ConditionCheck *deleteInput
	Put            *putInput
	Update         *updateInput
	Delete         *deleteInput
}

type transactInput struct {
	TransactItems               []transactItem
	ClientRequestToken          string
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type transactOutput struct {
	ConsumedCapacity []*consumed `json:",omitempty"`
}

func (s *Service) transactWriteItems(r *wire.Request, in *transactInput) (any, error) {
	if n := len(in.TransactItems); n == 0 || n > maxTransact {
		return nil, invalid("Member must have length between 1 and 100, inclusive: transactItems")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content := contentOf(r.Body)
	done, err := s.replayed(in.ClientRequestToken, content)
	if done || err != nil {
		return transactOutput{}, err
	}
	writes, err := s.transactWrites(in.TransactItems)
	if err != nil {
		return nil, err
	}
	out, err := commitTransaction(writes, in.ReturnConsumedCapacity)
	if err == nil && in.ClientRequestToken != "" {
		s.tokens[in.ClientRequestToken] = transactToken{content, time.Now()}
	}
	return out, err
}

// contentOf identifies a request whatever the order of its members, which differs from one encoding to the next.
func contentOf(body []byte) [sha256.Size]byte {
	var doc any
	if json.Unmarshal(body, &doc) == nil {
		if sorted, err := json.Marshal(doc); err == nil {
			body = sorted
		}
	}
	return sha256.Sum256(body)
}

// replayed reports whether the transaction of this token has been done; the same token for another one is refused.
func (s *Service) replayed(token string, content [sha256.Size]byte) (bool, error) {
	for t, known := range s.tokens {
		if time.Since(known.at) > tokenLife {
			delete(s.tokens, t)
		}
	}
	known, ok := s.tokens[token]
	if ok && known.content != content {
		return false, &wire.Error{Code: "IdempotentParameterMismatchException", Message: "Request uses the same ClientRequestToken as an earlier one with other parameters"}
	}
	return ok, nil
}

func (s *Service) transactWrites(items []transactItem) ([]*write, error) {
	type place struct {
		table string
		key   [2]string
	}
	seen := map[place]bool{}
	var writes []*write
	for _, it := range items {
		w, err := s.transactWrite(it)
		if err != nil {
			return nil, err
		}
		at := place{w.table.name, w.key.texts()}
		if seen[at] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[at] = true
		writes = append(writes, w)
	}
	return writes, nil
}

func (s *Service) transactWrite(it transactItem) (*write, error) {
	name, count := it.table()
	if count != 1 {
		return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	t, err := s.table(name)
	if err != nil {
		return nil, err
	}
	switch {
	case it.Put != nil:
		return it.Put.write(t)
	case it.Delete != nil:
		return it.Delete.write(t)
	case it.Update != nil:
		w, _, err := it.Update.write(t)
		return w, err
	}
	w, err := it.ConditionCheck.write(t)
	if err != nil {
		return nil, err
	}
	w.checkOnly = true
	return w, nil
}

func (it transactItem) table() (name string, count int) {
	for _, in := range []*deleteInput{it.ConditionCheck, it.Delete} {
		if in != nil {
			name, count = in.TableName, count+1
		}
	}
	if it.Put != nil {
		name, count = it.Put.TableName, count+1
	}
	if it.Update != nil {
		name, count = it.Update.TableName, count+1
	}
	return name, count
}

// reason says why an item of a transaction let it fail, or "None".
type reason struct {
	Code    string
	Message string `json:",omitempty"`
	Item    any    `json:",omitempty"`
}

// commitTransaction does all writes or none.
func commitTransaction(writes []*write, capacity string) (any, error) {
	entries := make([]*entry, len(writes))
	reasons := make([]reason, len(writes))
	failed := false
	for i, w := range writes {
		_, next, err := w.prepare()
		entries[i], reasons[i] = next, reasonOf(asWire(err))
		failed = failed || err != nil
	}
	if failed {
		return nil, cancelled(reasons)
	}
	var out transactOutput
	for i, w := range writes {
		w.commit(entries[i])
		if c := report(capacity, w.table.name, 2); c != nil {
			out.ConsumedCapacity = append(out.ConsumedCapacity, c)
		}
	}
	return out, nil
}

func reasonOf(err error) reason {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return reason{Code: "None"}
	}
	code := strings.TrimSuffix(e.Code, "Exception")
	if code == "Validation" {
		code = "ValidationError"
	}
	return reason{Code: code, Message: e.Message, Item: e.Fields["Item"]}
}

func cancelled(reasons []reason) error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	return &wire.Error{
		Code:    "TransactionCanceledException",
		Message: "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]",
		Fields:  map[string]any{"CancellationReasons": reasons},
	}
}
