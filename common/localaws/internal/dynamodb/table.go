package dynamodb

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// DynamoDB's limits, in bytes.
const (
	maxItem      = 400 << 10
	maxPartition = 2048
	maxSort      = 1024
)

// table is one table. Service.mu guards it.
type table struct {
	name      string
	arn, id   string
	created   time.Time
	billing   string
	partition keyAttribute
	sort      keyAttribute // its name is "" in a table without sort key
	ttl       string       // the attribute, "" while time to live is off
	guarded   bool         // deletion protection
	rows      rows
}

type keyAttribute struct {
	name string
	kind attr.Kind
}

// key is what identifies an item within its table.
type key struct{ partition, sort attr.Value }

func (t *table) attributes() []keyAttribute {
	if t.sort.name == "" {
		return []keyAttribute{t.partition}
	}
	return []keyAttribute{t.partition, t.sort}
}

// keyOf takes the key out of a whole item.
func (t *table) keyOf(it attr.Item) (key, error) {
	for _, a := range t.attributes() {
		v, ok := it[a.name]
		switch {
		case !ok:
			return key{}, invalid("One or more parameter values were invalid: Missing the key " + a.name + " in the item")
		case v.Kind != a.kind:
			return key{}, invalid(fmt.Sprintf("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", a.name, a.kind, v.Kind))
		}
	}
	return t.checkedKey(it)
}

// exactKey reads a Key member, which must hold the key attributes and nothing else.
func (t *table) exactKey(k attr.Item) (key, error) {
	mismatch := invalid("The provided key element does not match the schema")
	if len(k) != len(t.attributes()) {
		return key{}, mismatch
	}
	for _, a := range t.attributes() {
		if k[a.name].Kind != a.kind {
			return key{}, mismatch
		}
	}
	return t.checkedKey(k)
}

func (t *table) checkedKey(it attr.Item) (key, error) {
	k := key{partition: it[t.partition.name], sort: it[t.sort.name]}
	for _, a := range t.attributes() {
		if it[a.name].Text == "" {
			return key{}, emptyKey(a)
		}
	}
	switch {
	case len(k.partition.Text) > maxPartition:
		return key{}, invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	case len(k.sort.Text) > maxSort:
		return key{}, invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return k, nil
}

func emptyKey(a keyAttribute) error {
	what := "string"
	if a.kind == attr.Binary {
		what = "binary"
	}
	return invalid(fmt.Sprintf("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", what, a.name))
}

// keyItem is the Key form of k.
func (t *table) keyItem(k key) attr.Item {
	it := attr.Item{t.partition.name: k.partition}
	if t.sort.name != "" {
		it[t.sort.name] = k.sort
	}
	return it
}

// entryOf prepares an item for storing; it refuses one that is too large, with the given sentence.
func entryOf(k key, it attr.Item, tooLarge string) (*entry, error) {
	e := &entry{sort: k.sort, item: it, size: it.Size()}
	if e.size > maxItem {
		return nil, invalid(tooLarge)
	}
	return e, nil
}

func (t *table) expire(now time.Time) int {
	if t.ttl == "" {
		return 0
	}
	var gone []key
	t.rows.scan(position{}, func(p *partition, e *entry) bool {
		if expired(e.item[t.ttl], now) {
			gone = append(gone, key{p.key, e.sort})
		}
		return true
	})
	for _, k := range gone {
		t.rows.remove(k)
	}
	return len(gone)
}

// expired judges a time to live; AWS leaves items alone whose time is more than five years past.
func expired(v attr.Value, now time.Time) bool {
	seconds, err := strconv.ParseFloat(v.Text, 64)
	if v.Kind != attr.Number || err != nil {
		return false
	}
	at := time.Unix(int64(seconds), 0)
	return at.Before(now) && at.After(now.AddDate(-5, 0, 0))
}

// table finds a table for an operation on its items. The caller holds mu.
func (s *Service) table(name string) (*table, error) {
	t, ok := s.tables[name]
	if !ok {
		return nil, notFound("Requested resource not found")
	}
	return t, nil
}

func notFound(message string) error {
	return &wire.Error{Code: "ResourceNotFoundException", Message: message}
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && e.Code == "ResourceNotFoundException"
}
