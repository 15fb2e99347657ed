// Bench measures the start of the rotator's Lambda function: from the execution of its program to the answer to the first event,
// beside the least that any function in Go takes, in the same run. It prints median and worst of all starts, and peak memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// The first event asks for nothing; the second one makes the rotator look at everything that AWS has.
const (
	ignored   = `{"source":"aws.secretsmanager","detail-type":"Secret Label Updated","detail":{"labelUpdated":"AWSPREVIOUS"}}`
	scheduled = `{"source":"aws.events","detail-type":"Scheduled Event","detail":{}}`
)

func main() {
	starts := flag.Int("starts", 20, "cold starts of each program")
	limit := flag.Duration("limit", 0, "fail when the rotator's median is more than this above the floor; 0 for no limit")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: bench [-starts N] [-limit D] FLOOR BOOTSTRAP")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *starts, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(floor, bootstrap string, starts int, limit time.Duration) error {
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	if err := provision(server, bootstrap); err != nil {
		return err
	}
	least, err := measure(server, floor, ignored, starts)
	if err != nil {
		return err
	}
	first, err := measure(server, bootstrap, ignored, starts)
	if err != nil {
		return err
	}
	whole, err := measure(server, bootstrap, scheduled, starts)
	if err != nil {
		return err
	}
	fmt.Printf("%d cold starts each, from exec to the first event's answer\n", starts)
	least.print("empty handler (floor)")
	first.print("rotator, an event to ignore")
	whole.print("rotator, a reconciliation")
	above := first.median() - least.median()
	fmt.Printf("  above the floor: %.1f ms\n", ms(above))
	if limit > 0 && above > limit {
		return fmt.Errorf("the rotator starts %v above the floor, more than %v", above, limit)
	}
	return nil
}

// sample is what the starts of one program took.
type sample struct {
	took []time.Duration // sorted
	peak int             // KiB, the largest of all
}

func (s sample) median() time.Duration { return s.took[len(s.took)/2] }

func (s sample) print(name string) {
	fmt.Printf("  %-28s median %6.1f ms   worst %6.1f ms   peak RSS %5.1f MiB\n", name, ms(s.median()), ms(s.took[len(s.took)-1]), float64(s.peak)/1024)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measure(server *localaws.Server, program, event string, starts int) (sample, error) {
	var s sample
	for range starts {
		took, peak, err := start(server, program, event)
		if err != nil {
			return s, fmt.Errorf("starting %s: %w", filepath.Base(program), err)
		}
		s.took = append(s.took, took)
		s.peak = max(s.peak, peak)
	}
	slices.Sort(s.took)
	return s, nil
}

// start replaces the function, which ends its processes, so that the next event finds none.
func start(server *localaws.Server, program, event string) (time.Duration, int, error) {
	if _, err := server.CreateFunction(localaws.FunctionSpec{Name: "bench", Command: []string{program}, Timeout: time.Minute}); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	_, err := server.Invoke(context.Background(), "bench", []byte(event))
	took := time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	pids := server.FunctionPIDs("bench")
	if len(pids) != 1 {
		return 0, 0, fmt.Errorf("%d processes answered one event", len(pids))
	}
	peak, err := peakMemory(pids[0])
	return took, peak, err
}

// peakMemory is the largest resident set that a process has had, in KiB.
func peakMemory(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		}
	}
	return 0, errors.New("the kernel does not tell a process's peak memory")
}

// provision makes what a reconciliation looks at, by a first rotation of a cluster without workers.
func provision(server *localaws.Server, bootstrap string) error {
	ctx := context.Background()
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "x", "")}
	secrets := secretsmanager.NewFromConfig(cfg)
	for _, name := range []string{"/dev/ssh", "/dev/ssh/public"} {
		if _, err := secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")}); err != nil {
			return err
		}
	}
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err := dynamodb.NewFromConfig(cfg).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("rotatessh-ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("pk"), attribute("sk")},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		return err
	}
	arn, err := server.CreateFunction(localaws.FunctionSpec{Name: "rotator", Command: []string{bootstrap}, Timeout: time.Minute})
	if err != nil {
		return err
	}
	if _, err := secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: aws.String("/dev/ssh"), RotationLambdaARN: &arn}); err != nil {
		return err
	}
	for range 200 {
		out, err := secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("/dev/ssh"), VersionStage: aws.String("AWSCURRENT")})
		if err == nil && strings.Contains(aws.ToString(out.SecretString), "PublicKey") {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the first rotation does not end")
}
