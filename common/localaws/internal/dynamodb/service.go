// Package dynamodb is the DynamoDB of localaws: tables with a partition key and an optional sort key, held in memory.
//
// It promises the service's answers for conditions, updates, queries, scans, batches and transactions, with its limits: 400 KB an item,
// 100 keys a batch, 1 MB a page. It has no indexes and no streams and refuses requests that ask for them, as it refuses every
// request member that it does not know, rather than leave it out. Reads are always consistent.
package dynamodb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps is what the service needs from others: nothing so far.
type Deps struct{}

// Service holds all tables. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	mu     sync.RWMutex
	tables map[string]*table
	tokens map[string]transactToken
}

var _ wire.Handler = (*Service)(nil)

// New makes a service without tables.
func New(Deps) *Service {
	return &Service{tables: map[string]*table{}, tokens: map[string]transactToken{}}
}

// Handle answers one call.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	out, err := s.dispatch(r)
	return out, asWire(err)
}

func (s *Service) dispatch(r *wire.Request) (any, error) {
	switch r.Action {
	case "CreateTable":
		return call(r, s.createTable)
	case "DescribeTable":
		return call(r, s.describeTable)
	case "DeleteTable":
		return call(r, s.deleteTable)
	case "ListTables":
		return call(r, s.listTables)
	case "UpdateTimeToLive":
		return call(r, s.updateTimeToLive)
	case "DescribeTimeToLive":
		return call(r, s.describeTimeToLive)
	case "GetItem":
		return call(r, s.getItem)
	case "PutItem":
		return call(r, s.putItem)
	case "UpdateItem":
		return call(r, s.updateItem)
	case "DeleteItem":
		return call(r, s.deleteItem)
	case "Query":
		return call(r, s.query)
	case "Scan":
		return call(r, s.scan)
	case "BatchGetItem":
		return call(r, s.batchGetItem)
	case "BatchWriteItem":
		return call(r, s.batchWriteItem)
	case "TransactWriteItems":
		return call(r, s.transactWriteItems)
	default:
		return nil, wire.Unknown(r)
	}
}

// call decodes the body strictly and runs one operation.
func call[In any](r *wire.Request, operation func(*wire.Request, *In) (any, error)) (any, error) {
	in := new(In)
	if err := decode(r.Body, in); err != nil {
		return nil, err
	}
	return operation(r, in)
}

func decode(body []byte, in any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(in)
	if _, refused := errors.AsType[*attr.Error](err); refused || err == nil {
		return err
	}
	return &wire.Error{Code: "SerializationException", Message: "localaws cannot read the request: " + err.Error()}
}

func invalid(message string) error {
	return &wire.Error{Code: "ValidationException", Message: message}
}

// asWire gives refusals of values and expressions their name on the wire.
func asWire(err error) error {
	if e, ok := errors.AsType[*attr.Error](err); ok {
		return invalid(e.Message)
	}
	if e, ok := errors.AsType[*expr.Error](err); ok {
		return invalid(e.Message)
	}
	return err
}

// Items returns all items of all tables. The items are shared with the tables: read them only.
func (s *Service) Items() []attr.Item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var items []attr.Item
	for _, t := range s.tables {
		t.rows.scan(position{}, func(_ *partition, e *entry) bool {
			items = append(items, e.item)
			return true
		})
	}
	return items
}

// Expire deletes the items whose time to live lies before now and returns how many there were. AWS does so within days; until
// then reads return them, here as there.
func (s *Service) Expire(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, t := range s.tables {
		count += t.expire(now)
	}
	return count
}
