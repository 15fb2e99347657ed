package dynamodb

import (
	"slices"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// write is one conditional change of one item, however it was asked for: alone, in a batch or in a transaction.
type write struct {
	table     *table
	key       key
	condition *expr.Condition
	onFailure string // ReturnValuesOnConditionCheckFailure
	// change computes the item to store from the present one, nil for none; a nil result deletes.
	change func(old attr.Item) (attr.Item, error)
	// checkOnly is set for a transaction's ConditionCheck: change is nil.
	checkOnly bool
	tooLarge  string
}

const (
	tooLarge       = "Item size has exceeded the maximum allowed size"
	tooLargeUpdate = "Item size to update has exceeded the maximum allowed size"
)

// prepare checks the condition and computes the entry to store (nil deletes); nothing is changed yet.
func (w *write) prepare() (old attr.Item, next *entry, err error) {
	if e := w.table.rows.get(w.key); e != nil {
		old = e.item
	}
	if !w.condition.Match(old) {
		return old, nil, conditionFailed(w.onFailure, old)
	}
	if w.checkOnly {
		return old, nil, nil
	}
	item, err := w.change(old)
	if err != nil || item == nil {
		return old, nil, err
	}
	next, err = entryOf(w.key, item, w.tooLarge)
	return old, next, err
}

func (w *write) commit(next *entry) {
	switch {
	case w.checkOnly:
	case next == nil:
		w.table.rows.remove(w.key)
	default:
		w.table.rows.put(w.key, next)
	}
}

// run does the whole write and returns the item before and after.
func (w *write) run() (old, updated attr.Item, err error) {
	old, next, err := w.prepare()
	if err != nil {
		return old, nil, err
	}
	w.commit(next)
	if next != nil {
		updated = next.item
	}
	return old, updated, nil
}

func conditionFailed(onFailure string, old attr.Item) error {
	e := &wire.Error{Code: "ConditionalCheckFailedException", Message: "The conditional request failed"}
	if onFailure == "ALL_OLD" && old != nil {
		e.Fields = map[string]any{"Item": old}
	}
	return e
}

// conditional are the members of every write with a condition.
type conditional struct {
	placeholders
	ConditionExpression                 *string
	ReturnValuesOnConditionCheckFailure string
}

type options struct {
	ReturnValues                string
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string // accepted: without local indexes there are none
}

// allow refuses any ReturnValues but the given ones, NONE and none at all.
func (o options) allow(modes ...string) error {
	if o.ReturnValues == "" || o.ReturnValues == "NONE" || slices.Contains(modes, o.ReturnValues) {
		return nil
	}
	return invalid("Return values set to invalid value")
}

type putInput struct {
	TableName string
	Item      attr.Item
	conditional
}

type deleteInput struct {
	TableName string
	Key       attr.Item
	conditional
}

type updateInput struct {
	TableName        string
	Key              attr.Item
	UpdateExpression *string
	conditional
}

// prepared fills in the condition, which must be the last expression of the scope.
func (c conditional) prepared(w *write, scope *expr.Scope) (*write, error) {
	var err error
	if w.condition, err = scope.Condition("ConditionExpression", c.ConditionExpression); err != nil {
		return nil, err
	}
	w.onFailure = c.ReturnValuesOnConditionCheckFailure
	return w, scope.Finish()
}

func (in putInput) write(t *table) (*write, error) {
	scope, err := in.scope(in.ConditionExpression)
	if err != nil {
		return nil, err
	}
	k, err := t.keyOf(in.Item)
	if err != nil {
		return nil, err
	}
	w := &write{table: t, key: k, tooLarge: tooLarge, change: func(attr.Item) (attr.Item, error) { return in.Item, nil }}
	return in.prepared(w, scope)
}

func (in deleteInput) write(t *table) (*write, error) {
	scope, err := in.scope(in.ConditionExpression)
	if err != nil {
		return nil, err
	}
	k, err := t.exactKey(in.Key)
	if err != nil {
		return nil, err
	}
	w := &write{table: t, key: k, change: func(attr.Item) (attr.Item, error) { return nil, nil }}
	return in.prepared(w, scope)
}

func (in updateInput) write(t *table) (*write, *expr.Update, error) {
	scope, err := in.scope(in.UpdateExpression, in.ConditionExpression)
	if err != nil {
		return nil, nil, err
	}
	k, err := t.exactKey(in.Key)
	if err != nil {
		return nil, nil, err
	}
	update, err := scope.Update(in.UpdateExpression)
	if err != nil {
		return nil, nil, err
	}
	if err := t.keepsKeys(update); err != nil {
		return nil, nil, err
	}
	w := &write{table: t, key: k, tooLarge: tooLargeUpdate, change: func(old attr.Item) (attr.Item, error) {
		if old == nil {
			old = in.Key
		}
		return update.Apply(old)
	}}
	w, err = in.prepared(w, scope)
	return w, update, err
}

// keepsKeys refuses an update of a key attribute.
func (t *table) keepsKeys(u *expr.Update) error {
	touched := u.Attributes()
	for _, a := range t.attributes() {
		if slices.Contains(touched, a.name) {
			return invalid("One or more parameter values were invalid: Cannot update attribute " + a.name + ". This attribute is part of the key")
		}
	}
	return nil
}
