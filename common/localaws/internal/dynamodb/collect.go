package dynamodb

import (
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
)

// maxPage is how many bytes Query and Scan read for one answer.
const maxPage = 1 << 20

// collector gathers one page of a Query or Scan. Limit and size count what was read, before the filter, as AWS does; a page that
// ends on either has a LastEvaluatedKey even if nothing follows.
type collector struct {
	table      *table
	in         *readInput
	filter     *expr.Condition
	projection *expr.Projection
	items      []attr.Item
	count      int
	scanned    int
	size       int
	last       attr.Item
}

// collector parses the remaining expressions; the scope must not be used afterwards.
func (in *readInput) collector(t *table, scope *expr.Scope) (*collector, error) {
	if in.Limit != nil && *in.Limit < 1 {
		return nil, invalid("1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")
	}
	if err := in.checkSelect(); err != nil {
		return nil, err
	}
	filter, err := scope.Condition("FilterExpression", in.FilterExpression)
	if err != nil {
		return nil, err
	}
	projection, err := scope.Projection(in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	return &collector{table: t, in: in, filter: filter, projection: projection, items: []attr.Item{}}, scope.Finish()
}

func (in *readInput) checkSelect() error {
	switch in.Select {
	case "", "ALL_ATTRIBUTES", "COUNT", "SPECIFIC_ATTRIBUTES":
	default:
		return invalid("localaws has no indexes: Select " + in.Select)
	}
	if (in.ProjectionExpression != nil) != (in.Select == "SPECIFIC_ATTRIBUTES") && in.Select != "" {
		return invalid("Cannot specify the ProjectionExpression when choosing to get " + in.Select)
	}
	return nil
}

// add takes the next item and reports whether the page has room for more.
func (c *collector) add(partition attr.Value, e *entry) bool {
	c.scanned++
	c.size += e.size
	if c.filter.Match(e.item) {
		c.count++
		if c.in.Select != "COUNT" {
			c.items = append(c.items, c.projection.Apply(e.item))
		}
	}
	if c.size < maxPage && (c.in.Limit == nil || c.scanned < *c.in.Limit) {
		return true
	}
	c.last = c.table.keyItem(key{partition, e.sort})
	return false
}

func (c *collector) output() readOutput {
	out := readOutput{
		Count: c.count, ScannedCount: c.scanned, LastEvaluatedKey: c.last,
		ConsumedCapacity: report(c.in.ReturnConsumedCapacity, c.table.name, readCost(c.size, c.in.ConsistentRead)),
	}
	if c.in.Select != "COUNT" {
		out.Items = &c.items
	}
	return out
}
