package dynamodb

import (
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Leading is one partition key that a request touches.
type Leading struct{ Table, Key string }

// LeadingKeys lists the partition keys that r reads or writes, for access rules. It answers false where they cannot be told: a Scan,
// an operation on a table, a table that does not exist, a request that is not well formed.
func (s *Service) LeadingKeys(r *wire.Request) ([]Leading, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []Leading
	switch r.Action {
	case "GetItem", "DeleteItem", "UpdateItem":
		keys = s.singleLeading(r, func(in *keyedInput) attr.Item { return in.Key })
	case "PutItem":
		keys = s.singleLeading(r, func(in *keyedInput) attr.Item { return in.Item })
	case "Query":
		keys = s.queryLeading(r)
	case "BatchGetItem":
		keys = s.batchLeading(r)
	}
	return keys, len(keys) > 0
}

// keyedInput is what access rules need of a request on one item.
type keyedInput struct {
	TableName string
	Key, Item attr.Item
}

func (s *Service) singleLeading(r *wire.Request, holder func(*keyedInput) attr.Item) []Leading {
	in := &keyedInput{}
	if wire.Decode(r, in) != nil {
		return nil
	}
	return s.leading(in.TableName, holder(in))
}

func (s *Service) leading(name string, it attr.Item) []Leading {
	t, ok := s.tables[name]
	if !ok {
		return nil
	}
	v, ok := it[t.partition.name]
	if !ok {
		return nil
	}
	return []Leading{{name, v.Text}}
}

func (s *Service) queryLeading(r *wire.Request) []Leading {
	in := &queryInput{}
	if decode(r.Body, in) != nil || in.KeyConditionExpression == nil {
		return nil
	}
	t, ok := s.tables[in.TableName]
	scope, err := in.scope(in.KeyConditionExpression)
	if !ok || err != nil {
		return nil
	}
	c, err := t.keyCondition(scope, *in.KeyConditionExpression)
	if err != nil {
		return nil
	}
	return []Leading{{in.TableName, c.Partition.Text}}
}

func (s *Service) batchLeading(r *wire.Request) []Leading {
	in := &batchGetInput{}
	if decode(r.Body, in) != nil {
		return nil
	}
	var keys []Leading
	for name, want := range in.RequestItems {
		for _, it := range want.Keys {
			one := s.leading(name, it)
			if one == nil {
				return nil
			}
			keys = append(keys, one...)
		}
	}
	return keys
}
