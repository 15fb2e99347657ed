// Floor is the least that a Lambda function in Go can be: what its start costs, no function can do without.
package main

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(context.Context, json.RawMessage) (any, error) { return nil, nil })
}
