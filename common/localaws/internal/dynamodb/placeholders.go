package dynamodb

import (
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
)

// placeholders are the members that every operation with expressions has.
type placeholders struct {
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]attr.Value
}

// scope prepares them for the given expressions, none of which has been parsed yet.
func (p placeholders) scope(expressions ...*string) (*expr.Scope, error) {
	any := false
	for _, e := range expressions {
		any = any || e != nil
	}
	switch {
	case !any && p.ExpressionAttributeNames != nil:
		return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
	case !any && p.ExpressionAttributeValues != nil:
		return nil, invalid("ExpressionAttributeValues can only be specified when using expressions")
	case p.ExpressionAttributeNames != nil && len(p.ExpressionAttributeNames) == 0:
		return nil, invalid("ExpressionAttributeNames must not be empty")
	case p.ExpressionAttributeValues != nil && len(p.ExpressionAttributeValues) == 0:
		return nil, invalid("ExpressionAttributeValues must not be empty")
	}
	return expr.NewScope(p.ExpressionAttributeNames, p.ExpressionAttributeValues), nil
}
