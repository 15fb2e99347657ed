package dynamodb

import (
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

type getItemInput struct {
	TableName                string
	Key                      attr.Item
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

type getItemOutput struct {
	Item             attr.Item `json:",omitempty"`
	ConsumedCapacity *consumed `json:",omitempty"`
}

type writeOutput struct {
	Attributes       attr.Item `json:",omitempty"`
	ConsumedCapacity *consumed `json:",omitempty"`
}

func (s *Service) getItem(_ *wire.Request, in *getItemInput) (any, error) {
	scope, err := placeholders{ExpressionAttributeNames: in.ExpressionAttributeNames}.scope(in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	projection, err := scope.Projection(in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	if err := scope.Finish(); err != nil {
		return nil, err
	}
	item, size, err := s.read(in.TableName, in.Key)
	if err != nil {
		return nil, err
	}
	return getItemOutput{projection.Apply(item), report(in.ReturnConsumedCapacity, in.TableName, readCost(size, in.ConsistentRead))}, nil
}

// read returns one item, nil when there is none, and its size.
func (s *Service) read(name string, keyItem attr.Item) (attr.Item, int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.table(name)
	if err != nil {
		return nil, 0, err
	}
	k, err := t.exactKey(keyItem)
	if err != nil {
		return nil, 0, err
	}
	e := t.rows.get(k)
	if e == nil {
		return nil, 0, nil
	}
	return e.item, e.size, nil
}

type putItemInput struct {
	putInput
	options
}

func (s *Service) putItem(_ *wire.Request, in *putItemInput) (any, error) {
	if err := in.allow("ALL_OLD"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	w, err := in.write(t)
	if err != nil {
		return nil, err
	}
	return in.finish(w, func(old, _ attr.Item) attr.Item { return old })
}

// finish runs a write; returned picks the Attributes of the answer when any were asked for.
func (o options) finish(w *write, returned func(old, updated attr.Item) attr.Item) (any, error) {
	old, updated, err := w.run()
	if err != nil {
		return nil, err
	}
	cost := writeCost(max(old.Size(), updated.Size()))
	out := writeOutput{ConsumedCapacity: report(o.ReturnConsumedCapacity, w.table.name, cost)}
	if o.ReturnValues != "" && o.ReturnValues != "NONE" {
		out.Attributes = returned(old, updated)
	}
	return out, nil
}

type deleteItemInput struct {
	deleteInput
	options
}

func (s *Service) deleteItem(_ *wire.Request, in *deleteItemInput) (any, error) {
	if err := in.allow("ALL_OLD"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	w, err := in.write(t)
	if err != nil {
		return nil, err
	}
	return in.finish(w, func(old, _ attr.Item) attr.Item { return old })
}

type updateItemInput struct {
	updateInput
	options
}

func (s *Service) updateItem(_ *wire.Request, in *updateItemInput) (any, error) {
	if err := in.allow("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	w, update, err := in.write(t)
	if err != nil {
		return nil, err
	}
	return in.finish(w, func(old, updated attr.Item) attr.Item {
		switch in.ReturnValues {
		case "ALL_NEW":
			return updated
		case "UPDATED_OLD":
			return update.Touched(old)
		case "UPDATED_NEW":
			return update.Touched(updated)
		default:
			return old
		}
	})
}
