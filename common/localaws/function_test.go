package localaws_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestFunctionIsInvokedThroughTheSDK(t *testing.T) {
	s := start(t, localaws.Options{RetryRotationAfter: time.Millisecond})
	arn := function(t, s, "echo", "echo", time.Minute)
	c := lambda.NewFromConfig(operator(t, s))
	for _, name := range []string{"echo", arn, arn + ":$LATEST"} {
		out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"a":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Got struct{ A int } }
		if err := json.Unmarshal(out.Payload, &got); err != nil || got.Got.A != 1 || out.StatusCode != 200 || out.FunctionError != nil {
			t.Errorf("%s answered %d %s, %v", name, out.StatusCode, out.Payload, err)
		}
	}
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &arn, Payload: []byte(`{"do":"fail"}`)})
	if err != nil || aws.ToString(out.FunctionError) != "Unhandled" {
		t.Errorf("failing function answered %v, %v", out, err)
	}
	for code, in := range map[string]lambda.InvokeInput{
		"InvalidParameterValueException": {LogType: types.LogTypeTail},
		"InvalidRequestContentException": {Payload: []byte("{")},
		"RequestTooLargeException":       {Payload: bytes.Repeat([]byte(" "), 6<<20+1)},
	} {
		in.FunctionName = &arn
		_, err := c.Invoke(t.Context(), &in)
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != code {
			t.Errorf("Invoke = %v, want %s", err, code)
		}
	}
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("nobody")})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("unknown function: %v", err)
	}
}

func TestEventInvocationIsTriedThreeTimes(t *testing.T) {
	s := start(t, localaws.Options{RetryRotationAfter: time.Millisecond})
	arn := function(t, s, "echo", "echo", time.Minute)
	c := lambda.NewFromConfig(operator(t, s))
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &arn, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"do":"exit"}`)})
	if err != nil || out.StatusCode != 202 {
		t.Fatalf("answered %v, %v", out, err)
	}
	eventually(t, "three attempts failed", func() bool {
		return len(slices.DeleteFunc(s.Calls(), func(c localaws.Call) bool { return c.Principal != "events" || c.ErrorCode != "Unhandled" })) == 3
	})
	if out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &arn, InvocationType: types.InvocationTypeDryRun}); err != nil || out.StatusCode != 204 {
		t.Errorf("dry run answered %v, %v", out, err)
	}
}

func TestInvokeTellsFailureOfTheFunctionFromFailureToReachIt(t *testing.T) {
	s := start(t, localaws.Options{})
	function(t, s, "echo", "echo", time.Minute)
	if _, err := s.Invoke(t.Context(), "echo", []byte(`{}`)); err != nil {
		t.Error(err)
	}
	var failed *localaws.FunctionError
	if _, err := s.Invoke(t.Context(), "echo", []byte(`{"do":"fail"}`)); !errors.As(err, &failed) || failed.Function != "echo" {
		t.Errorf("failing function: %v", err)
	}
	var api *localaws.APIError
	if _, err := s.Invoke(t.Context(), "nobody", nil); !errors.As(err, &api) || api.Code != "ResourceNotFoundException" {
		t.Errorf("unknown function: %v", err)
	}
}
