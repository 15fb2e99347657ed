package dynamodb

import (
	"iter"
	"slices"
	"sort"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// readInput are the members that Query and Scan share.
type readInput struct {
	TableName string
	placeholders
	FilterExpression       *string
	ProjectionExpression   *string
	ConsistentRead         bool
	Limit                  *int
	ExclusiveStartKey      attr.Item
	Select                 string
	ReturnConsumedCapacity string
}

type readOutput struct {
	Items            *[]attr.Item `json:",omitempty"`
	Count            int
	ScannedCount     int
	LastEvaluatedKey attr.Item `json:",omitempty"`
	ConsumedCapacity *consumed `json:",omitempty"`
}

type queryInput struct {
	readInput
	KeyConditionExpression *string
	ScanIndexForward       *bool
}

func (s *Service) query(_ *wire.Request, in *queryInput) (any, error) {
	if in.KeyConditionExpression == nil {
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	scope, err := in.scope(in.KeyConditionExpression)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	condition, err := t.keyCondition(scope, *in.KeyConditionExpression)
	if err != nil {
		return nil, err
	}
	c, err := in.collector(t, scope)
	if err != nil {
		return nil, err
	}
	entries, err := t.matching(condition, in)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !c.add(condition.Partition, e) {
			break
		}
	}
	return c.output(), nil
}

func (t *table) keyCondition(scope *expr.Scope, text string) (*expr.KeyCondition, error) {
	c, err := scope.KeyCondition(text, t.partition.name, t.sort.name)
	if err != nil {
		return nil, err
	}
	if err := c.Kinds(t.partition.kind, t.sort.kind); err != nil {
		return nil, err
	}
	if c.Partition.Text == "" {
		return nil, emptyKey(t.partition)
	}
	return c, nil
}

// matching lists the entries of a query in its order, from its start key on.
func (t *table) matching(c *expr.KeyCondition, in *queryInput) (iter.Seq2[int, *entry], error) {
	var entries []*entry
	if p := t.rows.partition(c.Partition); p != nil {
		entries = p.entries
	}
	from := sort.Search(len(entries), func(i int) bool { return !c.Below(entries[i].sort) })
	to := sort.Search(len(entries), func(i int) bool { return c.Above(entries[i].sort) })
	entries = entries[from:max(from, to)]
	backward := in.ScanIndexForward != nil && !*in.ScanIndexForward
	if in.ExclusiveStartKey != nil {
		k, err := t.exactKey(in.ExclusiveStartKey)
		if err != nil || !attr.Equal(k.partition, c.Partition) || t.sort.name != "" && !c.Includes(k.sort) {
			return nil, invalid("The provided starting key is outside query boundaries based on provided conditions")
		}
		entries = beyond(entries, k.sort, backward)
	}
	return inOrder(entries, backward), nil
}

// beyond drops the entries up to and including the start key, which need not exist any more.
func beyond(entries []*entry, start attr.Value, backward bool) []*entry {
	if backward {
		return entries[:sort.Search(len(entries), func(i int) bool { return attr.Compare(entries[i].sort, start) >= 0 })]
	}
	return entries[sort.Search(len(entries), func(i int) bool { return attr.Compare(entries[i].sort, start) > 0 }):]
}

func inOrder(entries []*entry, backward bool) iter.Seq2[int, *entry] {
	if backward {
		return slices.Backward(entries)
	}
	return slices.All(entries)
}
