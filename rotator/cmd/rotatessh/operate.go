package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/user"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

const (
	// longest is more than a Lambda function may run.
	longest = 16 * time.Minute
	// dialTimeout is enough wherever Lambda can be reached at all.
	dialTimeout = 5 * time.Second
	// defaultFunction is the name that the function usually has.
	defaultFunction = "RotateSSH"
)

// operateFlags are those of every command by which an operator asks the rotator for something.
type operateFlags struct {
	function, reason string
	yes, json        bool
	force            bool
	lockout          int
}

func (f *operateFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.function, "function", defaultFunction, "name or ARN of the rotator's Lambda `function`")
	c.Flags().StringVar(&f.reason, "reason", "", "`text` for the rotator's log and report")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask for confirmation")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object on standard output")
}

// asked is what these commands print as JSON.
type asked struct {
	operator.Response
	Done bool `json:"done"` // false if there was nothing to do
}

// plan decides what to ask, and tells what that will do. A Request without a Kind says that there is nothing
// to do, for the reason told.
type plan func(s secretInfo, now time.Time) (req operator.Request, tell string, err error)

// operate shows the plan, has it confirmed, and lets the rotator carry it out.
func (g *globals) operate(c *cobra.Command, f operateFlags, p plan) error {
	if err := f.checkForce(); err != nil {
		return err
	}
	b, err := g.open(c, inventoryFlags{function: f.function})
	if err != nil {
		return err
	}
	secret, err := b.describe(c.Context())
	if err != nil {
		return err
	}
	if err := b.addAges(c.Context(), &secret); err != nil {
		return err
	}
	req, tell, err := p(secret, b.now())
	if err != nil {
		return err
	}
	if req.Request == "" {
		return printAsked(c, f, asked{Response: operator.Response{SecretARN: secret.ARN, CurrentVersionID: secret.holder(labelCurrent), Message: tell}})
	}
	fmt.Fprintln(c.ErrOrStderr(), tell)
	if req.Force = f.force; f.force {
		fmt.Fprintln(c.ErrOrStderr(), b.cost(c.Context(), req))
	}
	if err := f.confirm(c, string(req.Request)); err != nil {
		return err
	}
	cfg, err := g.aws(c.Context(), nil, b.log)
	if err != nil {
		return err
	}
	req.Source, req.Version, req.SecretARN, req.Reason = operator.Source, operator.Version, secret.ARN, f.reason
	req.Actor = actor(c.Context(), cfg)
	if err := req.Validate(); err != nil {
		return usageError{err}
	}
	out, err := invoke(c.Context(), cfg, f.function, req)
	if err != nil {
		return err
	}
	return printAsked(c, f, asked{Response: out, Done: true})
}

func printAsked(c *cobra.Command, f operateFlags, a asked) error {
	if f.json {
		return printJSON(c.OutOrStdout(), a)
	}
	text := printable(a.Message)
	if a.Already {
		text += " (it was before)"
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

// confirm asks for a word to be typed, unless --yes was given.
func (f operateFlags) confirm(c *cobra.Command, word string) error {
	if f.yes {
		return nil
	}
	fmt.Fprintf(c.ErrOrStderr(), "Type %q to go on: ", word)
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(c.InOrStdin(), 100)).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-c.Context().Done():
		return errors.New("interrupted, nothing was asked for")
	case line := <-typed:
		if line != word {
			return withHint(errors.New("not confirmed, nothing was asked for"), "type %q, or pass --yes where nobody can type", word)
		}
	}
	return nil
}

// actor is who asks, as AWS knows the credentials. A network that does not reach STS is no reason not to ask.
func actor(ctx context.Context, cfg aws.Config) string {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err == nil {
		return aws.ToString(out.Arn)
	}
	if u, err := user.Current(); err == nil {
		return "local user " + u.Username
	}
	return "unknown"
}

// invoke waits for the function's answer as long as functions may run. It does not repeat the call: the
// operator does, who can look first at what has come of it.
func invoke(ctx context.Context, cfg aws.Config, function string, req operator.Request) (operator.Response, error) {
	client := newLambda(cfg, func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
	payload, err := call(ctx, client, function, req)
	if err != nil {
		return operator.Response{}, err
	}
	var response operator.Response
	if err := json.Unmarshal(payload, &response); err != nil || response.Request != req.Request {
		return response, errNoRotator()
	}
	return response, nil
}

func newLambda(cfg aws.Config, options ...func(*lambda.Options)) *lambda.Client {
	client := awshttp.NewBuildableClient().WithTimeout(longest).WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
	return lambda.NewFromConfig(cfg, append(options, func(o *lambda.Options) { o.HTTPClient = client })...)
}

// call gives what the function answers to a request.
func call(ctx context.Context, client *lambda.Client, function string, req operator.Request) ([]byte, error) {
	payload, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		err = fmt.Errorf("invoking the rotator %q: %w", function, err)
		if strings.Contains(err.Error(), "ResourceNotFoundException") {
			return nil, withHint(err, "check --function and --region")
		}
		return nil, withHint(err, "it may have begun: look at \"rotatessh status\", and ask again")
	}
	if out.FunctionError != nil {
		return nil, explainFailure(out.Payload)
	}
	return out.Payload, nil
}

func errNoRotator() error {
	return withHint(errors.New("the function's answer is not a rotator's"), "does --function name the rotator, of this version?")
}

// explainFailure is the rotator's error, as Lambda wraps it.
func explainFailure(payload []byte) error {
	var failed struct {
		ErrorMessage string `json:"errorMessage"`
		ErrorType    string `json:"errorType"`
	}
	if err := json.Unmarshal(payload, &failed); err != nil || failed.ErrorMessage == "" {
		return fmt.Errorf("the rotator failed: %.500s", printable(string(payload)))
	}
	err := fmt.Errorf("the rotator refused or failed: %s", printable(failed.ErrorMessage))
	if strings.Contains(failed.ErrorMessage, "timed out") || strings.Contains(failed.ErrorMessage, "deadline") {
		return withHint(err, "nothing is lost: ask again, it goes on where it was")
	}
	return err
}
