package dynamodb

import (
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Limits of the batch operations.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
)

// keysAndAttributes asks for items of one table; it goes back as it came, with fewer keys, among the unprocessed.
type keysAndAttributes struct {
	Keys                     []attr.Item
	ConsistentRead           bool              `json:",omitempty"`
	ProjectionExpression     *string           `json:",omitempty"`
	ExpressionAttributeNames map[string]string `json:",omitempty"`
}

type batchGetInput struct {
	RequestItems           map[string]keysAndAttributes
	ReturnConsumedCapacity string
}

type batchGetOutput struct {
	Responses        map[string][]attr.Item
	UnprocessedKeys  map[string]keysAndAttributes
	ConsumedCapacity []*consumed `json:",omitempty"`
}

func (s *Service) batchGetItem(_ *wire.Request, in *batchGetInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	out := &batchGetOutput{Responses: map[string][]attr.Item{}, UnprocessedKeys: map[string]keysAndAttributes{}}
	room := maxBatchBytes
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, want := range in.RequestItems {
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		if err := t.batchGet(want, in.ReturnConsumedCapacity, &room, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (in *batchGetInput) check() error {
	count := 0
	for _, want := range in.RequestItems {
		if len(want.Keys) == 0 {
			return invalid("1 validation error detected: Value at 'requestItems.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1")
		}
		count += len(want.Keys)
	}
	switch {
	case count == 0:
		return invalid("1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case count > maxBatchGet:
		return invalid("Too many items requested for the BatchGetItem call")
	default:
		return nil
	}
}

func (t *table) batchGet(want keysAndAttributes, capacity string, room *int, out *batchGetOutput) error {
	projection, err := want.projection()
	if err != nil {
		return err
	}
	keys, err := t.distinctKeys(want.Keys)
	if err != nil {
		return err
	}
	items, cost := []attr.Item{}, 0.0
	for i, k := range keys {
		e := t.rows.get(k)
		if e != nil && e.size > *room {
			want.Keys = want.Keys[i:]
			out.UnprocessedKeys[t.name] = want
			break
		}
		if e == nil {
			cost += readCost(0, want.ConsistentRead)
			continue
		}
		*room -= e.size
		cost += readCost(e.size, want.ConsistentRead)
		items = append(items, projection.Apply(e.item))
	}
	out.Responses[t.name] = unordered(items)
	if c := report(capacity, t.name, cost); c != nil {
		out.ConsumedCapacity = append(out.ConsumedCapacity, c)
	}
	return nil
}

// unordered turns the items around: AWS answers in no order, and nobody should come to rely on one here.
func unordered(items []attr.Item) []attr.Item {
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	return items
}

func (k keysAndAttributes) projection() (*expr.Projection, error) {
	scope, err := placeholders{ExpressionAttributeNames: k.ExpressionAttributeNames}.scope(k.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	p, err := scope.Projection(k.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	return p, scope.Finish()
}

func (t *table) distinctKeys(keyItems []attr.Item) ([]key, error) {
	keys := make([]key, 0, len(keyItems))
	seen := map[[2]string]bool{}
	for _, it := range keyItems {
		k, err := t.exactKey(it)
		if err != nil {
			return nil, err
		}
		if seen[k.texts()] {
			return nil, invalid("Provided list of item keys contains duplicates")
		}
		seen[k.texts()] = true
		keys = append(keys, k)
	}
	return keys, nil
}

// texts identifies a key within its table.
func (k key) texts() [2]string { return [2]string{k.partition.Text, k.sort.Text} }

type writeRequest struct {
	PutRequest *struct {
		Item attr.Item
	} `json:",omitempty"`
	DeleteRequest *struct {
		Key attr.Item
	} `json:",omitempty"`
}

type batchWriteInput struct {
	RequestItems                map[string][]writeRequest
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type batchWriteOutput struct {
	UnprocessedItems map[string][]writeRequest
	ConsumedCapacity []*consumed `json:",omitempty"`
}

func (s *Service) batchWriteItem(_ *wire.Request, in *batchWriteInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var writes []*write
	for name, requests := range in.RequestItems {
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		more, err := t.batchWrites(requests)
		if err != nil {
			return nil, err
		}
		writes = append(writes, more...)
	}
	switch {
	case len(writes) == 0:
		return nil, invalid("1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(writes) > maxBatchWrite:
		return nil, invalid("Too many items requested for the BatchWriteItem call")
	}
	return commitBatch(writes, in.ReturnConsumedCapacity)
}

// commitBatch prepares all writes before it does any: a request that is refused changes nothing.
func commitBatch(writes []*write, capacity string) (any, error) {
	out := batchWriteOutput{UnprocessedItems: map[string][]writeRequest{}}
	entries := make([]*entry, len(writes))
	for i, w := range writes {
		old, next, err := w.prepare()
		if err != nil {
			return nil, err
		}
		entries[i] = next
		size := old.Size()
		if next != nil {
			size = max(size, next.size)
		}
		if c := report(capacity, w.table.name, writeCost(size)); c != nil {
			out.ConsumedCapacity = append(out.ConsumedCapacity, c)
		}
	}
	for i, w := range writes {
		w.commit(entries[i])
	}
	return out, nil
}

func (t *table) batchWrites(requests []writeRequest) ([]*write, error) {
	var writes []*write
	seen := map[[2]string]bool{}
	for _, r := range requests {
		w, err := t.batchWrite(r)
		if err != nil {
			return nil, err
		}
		if seen[w.key.texts()] {
			return nil, invalid("Provided list of item keys contains duplicates")
		}
		seen[w.key.texts()] = true
		writes = append(writes, w)
	}
	return writes, nil
}

func (t *table) batchWrite(r writeRequest) (*write, error) {
	switch {
	case (r.PutRequest == nil) == (r.DeleteRequest == nil):
		return nil, invalid("Supplied WriteRequest must contain exactly one of PutRequest and DeleteRequest")
	case r.PutRequest != nil:
		return putInput{Item: r.PutRequest.Item}.write(t)
	default:
		return deleteInput{Key: r.DeleteRequest.Key}.write(t)
	}
}
