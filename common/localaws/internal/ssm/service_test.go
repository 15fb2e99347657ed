package ssm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws/internal/ssm"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

// serve gives a client of a service that manages i-1 to i-n.
func serve(t *testing.T, n int, run ssm.Runner) *sdk.Client {
	t.Helper()
	s := ssm.New(ssm.Deps{Account: wiretest.Account, Running: func(id string) bool { return id != "i-stopped" }})
	t.Cleanup(s.Close)
	for i := range n {
		s.Manage(id(i+1), run)
	}
	s.Manage("i-stopped", run)
	return sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"ssm": s}))
}

func id(n int) string { return fmt.Sprintf("i-%017x", n) }

func ids(n int) []string {
	var all []string
	for i := range n {
		all = append(all, id(i+1))
	}
	return all
}

func script(lines ...string) map[string][]string { return map[string][]string{"commands": lines} }

func send(t *testing.T, c *sdk.Client, in sdk.SendCommandInput) string {
	t.Helper()
	in.DocumentName = aws.String("AWS-RunShellScript")
	out, err := c.SendCommand(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.Command.CommandId
}

// ended waits until every invocation has ended, and counts their statuses.
func ended(t *testing.T, c *sdk.Client, command string) map[string]int {
	t.Helper()
	for {
		counts := map[string]int{}
		pages := sdk.NewListCommandInvocationsPaginator(c, &sdk.ListCommandInvocationsInput{CommandId: &command})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range page.CommandInvocations {
				counts[string(i.Status)+"/"+*i.StatusDetails]++
			}
		}
		if counts["Pending/Pending"]+counts["InProgress/InProgress"] == 0 {
			return counts
		}
		time.Sleep(time.Millisecond)
	}
}

func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestScriptsRunAndTheirOutputComesBack(t *testing.T) {
	t.Parallel()
	c := serve(t, 1, func(_ context.Context, script string) ssm.Result {
		return ssm.Result{Stdout: script + strings.Repeat("x", 30000), Stderr: strings.Repeat("y", 9000), ExitCode: 7}
	})
	command := send(t, c, sdk.SendCommandInput{InstanceIds: ids(1), Parameters: script("a", "b"), Comment: aws.String("hello")})
	if diff := cmp.Diff(map[string]int{"Failed/Failed": 1}, ended(t, c, command)); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	out, err := c.GetCommandInvocation(t.Context(), &sdk.GetCommandInvocationInput{CommandId: &command, InstanceId: aws.String(id(1))})
	if err != nil {
		t.Fatal(err)
	}
	if out.ResponseCode != 7 || !strings.HasPrefix(*out.StandardOutputContent, "a\nb\nxxx") || len(*out.StandardOutputContent) != 24000 ||
		len(*out.StandardErrorContent) != 8000 || *out.Comment != "hello" || !strings.HasPrefix(*out.ExecutionElapsedTime, "PT") {
		t.Errorf("invocation is %d %.20q, %d and %d bytes", out.ResponseCode, *out.StandardOutputContent, len(*out.StandardOutputContent), len(*out.StandardErrorContent))
	}
	list, err := c.ListCommandInvocations(t.Context(), &sdk.ListCommandInvocationsInput{CommandId: &command, Details: true})
	if err != nil || len(list.CommandInvocations) != 1 || len(*list.CommandInvocations[0].CommandPlugins[0].Output) != 2500 {
		t.Errorf("list is %+v, %v", list, err)
	}
}

func TestWhatIsWrongIsRefusedAsAWSDoes(t *testing.T) {
	t.Parallel()
	c := serve(t, 60, func(context.Context, string) ssm.Result { return ssm.Result{} })
	for _, row := range []struct {
		want   string
		change func(*sdk.SendCommandInput)
	}{
		{"InvalidInstanceId", func(in *sdk.SendCommandInput) { in.InstanceIds[3] = "i-0stranger" }},
		{"InvalidInstanceId", func(in *sdk.SendCommandInput) { in.InstanceIds = []string{"i-stopped"} }},
		{"InvalidDocument", func(in *sdk.SendCommandInput) { in.DocumentName = aws.String("AWS-RunPatchBaseline") }},
		{"ValidationException", func(in *sdk.SendCommandInput) { in.InstanceIds = ids(51) }},
		{"ValidationException", func(in *sdk.SendCommandInput) { in.InstanceIds = nil }},
		{"ValidationException", func(in *sdk.SendCommandInput) { in.MaxConcurrency = aws.String("0") }},
		{"ValidationException", func(in *sdk.SendCommandInput) { in.MaxErrors = aws.String("101%") }},
		{"ValidationException", func(in *sdk.SendCommandInput) { in.TimeoutSeconds = aws.Int32(29) }},
		{"InvalidParameters", func(in *sdk.SendCommandInput) { in.Parameters = nil }},
		{"InvalidParameters", func(in *sdk.SendCommandInput) { in.Parameters["shell"] = []string{"x"} }},
		{"InvalidParameters", func(in *sdk.SendCommandInput) { in.Parameters["executionTimeout"] = []string{"soon"} }},
		{"SerializationException", func(in *sdk.SendCommandInput) { in.Targets = []types.Target{{Key: aws.String("tag:x")}} }},
	} {
		in := &sdk.SendCommandInput{DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: ids(50), Parameters: script("true")}
		row.change(in)
		if _, err := c.SendCommand(t.Context(), in); codeOf(err) != row.want {
			t.Errorf("%v, want %s", err, row.want)
		}
	}
	unknown := aws.String("11111111-1111-1111-1111-111111111111")
	if _, err := c.GetCommandInvocation(t.Context(), &sdk.GetCommandInvocationInput{CommandId: unknown, InstanceId: aws.String(id(1))}); codeOf(err) != "InvocationDoesNotExist" {
		t.Errorf("an unknown invocation: %v", err)
	}
	if _, err := c.ListCommandInvocations(t.Context(), &sdk.ListCommandInvocationsInput{CommandId: unknown}); codeOf(err) != "InvalidCommandId" {
		t.Errorf("an unknown command: %v", err)
	}
	if _, err := c.CancelCommand(t.Context(), &sdk.CancelCommandInput{CommandId: unknown}); codeOf(err) != "UnknownOperationException" {
		t.Errorf("an operation that is missing: %v", err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	running, most := 0, 0
	c := serve(t, 50, func(context.Context, string) ssm.Result {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		running--
		mu.Unlock()
		return ssm.Result{}
	})
	command := send(t, c, sdk.SendCommandInput{InstanceIds: ids(50), Parameters: script("true"), MaxConcurrency: aws.String("10%")})
	if diff := cmp.Diff(map[string]int{"Success/Success": 50}, ended(t, c, command)); diff != "" || most > 5 || most < 2 {
		t.Errorf("%d at once, statuses (-want +got):\n%s", most, diff)
	}
}

func TestTooManyErrorsEndACommand(t *testing.T) {
	t.Parallel()
	c := serve(t, 10, func(context.Context, string) ssm.Result { return ssm.Result{ExitCode: 1} })
	command := send(t, c, sdk.SendCommandInput{InstanceIds: ids(10), Parameters: script("false"), MaxConcurrency: aws.String("1"), MaxErrors: aws.String("2")})
	if diff := cmp.Diff(map[string]int{"Failed/Failed": 3, "Cancelled/Terminated": 7}, ended(t, c, command)); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestAScriptThatTakesTooLongIsEnded(t *testing.T) {
	t.Parallel()
	c := serve(t, 1, func(ctx context.Context, _ string) ssm.Result { <-ctx.Done(); return ssm.Result{} })
	parameters := script("sleep")
	parameters["executionTimeout"] = []string{"1"}
	command := send(t, c, sdk.SendCommandInput{InstanceIds: ids(1), Parameters: parameters})
	if diff := cmp.Diff(map[string]int{"TimedOut/ExecutionTimedOut": 1}, ended(t, c, command)); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestManagedInstancesAreListed(t *testing.T) {
	t.Parallel()
	c := serve(t, 7, func(context.Context, string) ssm.Result { return ssm.Result{} })
	var got []string
	pages := sdk.NewDescribeInstanceInformationPaginator(c, &sdk.DescribeInstanceInformationInput{
		MaxResults: aws.Int32(5), Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: append(ids(6), "i-stopped", "i-stranger")}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.InstanceInformationList {
			got = append(got, *i.InstanceId+" "+string(i.PingStatus))
		}
	}
	var want []string
	for _, i := range ids(6) {
		want = append(want, i+" Online")
	}
	if diff := cmp.Diff(append(want, "i-stopped ConnectionLost"), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
}
