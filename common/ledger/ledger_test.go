package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

const (
	table  = "rotatessh-ledger"
	secret = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func arn(n int) string {
	return fmt.Sprintf("arn:aws:ec2:us-east-1:111122223333:instance/i-%017x", n)
}

func newTable(t *testing.T) *dynamodb.Client {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	db := dynamodb.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
	})
	_, err = db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(table), BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func ack(n int) ledger.Ack {
	return ledger.Ack{
		Worker: arn(n), SecretARN: secret, KeysetARN: secret, KeysetVersionID: "v", Generation: 3, Pass: 1, Outcome: ledger.Applied,
		Users: []ledger.User{{Name: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys", Fingerprints: []string{"SHA256:a"},
			Keys: []ledger.KeyStatus{{Fingerprint: "SHA256:a", State: "current", Accepted: ledger.Yes}}}},
		HostKeys: []string{"ssh-ed25519 AAAA"}, Port: 22, Banner: "SSH-2.0-x", AppliedAt: now, ReportedAt: now, ExpiresAt: now.Add(time.Hour).Unix(),
	}
}

func read(t *testing.T, c *ledger.Client, n int) (ledger.Ack, bool) {
	t.Helper()
	acks, err := c.Acks(t.Context(), secret, []string{arn(n)}, now)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := acks[arn(n)]
	return a, ok
}

func TestAnAcknowledgementReadsBackAsWritten(t *testing.T) {
	c := ledger.New(newTable(t), table)
	want := ack(1)
	if _, err := c.PutAck(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, c, 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnOlderGenerationNeverReplacesANewerOne(t *testing.T) {
	c := ledger.New(newTable(t), table)
	newer := ack(1)
	newer.Generation = 9
	older := ack(1)
	older.Pass = 50
	if _, err := c.PutAck(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutAck(t.Context(), older); !errors.Is(err, ledger.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	if got, _ := read(t, c, 1); got.Generation != 9 {
		t.Errorf("generation %d stands", got.Generation)
	}
}

func TestAnOlderGenerationReplacesANewerOneWhereThatIsWanted(t *testing.T) {
	c := ledger.New(newTable(t), table)
	newer := ack(1)
	newer.Generation = 9
	if _, err := c.PutAck(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if err := c.ReplaceAck(t.Context(), ack(1)); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, c, 1); got.Generation != 3 {
		t.Errorf("generation %d stands", got.Generation)
	}
	if err := c.ReplaceAck(t.Context(), ledger.Ack{Worker: arn(1)}); err == nil {
		t.Error("one that says too little is written")
	}
}

func TestAnAgentThatCountsAfreshIsGivenTheNextPassNumber(t *testing.T) {
	c := ledger.New(newTable(t), table)
	first := ack(1)
	first.Pass = 41
	if _, err := c.PutAck(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	restarted := ack(1)
	restarted.Outcome, restarted.Code = ledger.Failed, "no-space"
	pass, err := c.PutAck(t.Context(), restarted)
	if err != nil || pass != 42 {
		t.Fatalf("pass %d, %v", pass, err)
	}
	if got, _ := read(t, c, 1); got.Pass != 42 || got.Code != "no-space" {
		t.Errorf("got pass %d code %q", got.Pass, got.Code)
	}
}

func TestAnAcknowledgementThatSaysTooLittleIsNotWritten(t *testing.T) {
	c := ledger.New(newTable(t), table)
	for name, edit := range map[string]func(*ledger.Ack){
		"no worker":           func(a *ledger.Ack) { a.Worker = "" },
		"host name":           func(a *ledger.Ack) { a.Worker = "worker-1" },
		"no version":          func(a *ledger.Ack) { a.KeysetVersionID = "" },
		"no generation":       func(a *ledger.Ack) { a.Generation = 0 },
		"unknown outcome":     func(a *ledger.Ack) { a.Outcome = "fine" },
		"failed without code": func(a *ledger.Ack) { a.Outcome = ledger.Failed },
		"port":                func(a *ledger.Ack) { a.Port = 70000 },
	} {
		a := ack(1)
		edit(&a)
		if _, err := c.PutAck(t.Context(), a); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if _, found := read(t, c, 1); found {
		t.Error("something was written")
	}
}

func TestAnExpiredAcknowledgementCountsAsNone(t *testing.T) {
	c := ledger.New(newTable(t), table)
	a := ack(1)
	a.ExpiresAt = now.Unix()
	if _, err := c.PutAck(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, found := read(t, c, 1); found {
		t.Error("DynamoDB deletes late; the reader must not count it")
	}
}

func TestAWorkerCannotSpeakForAnother(t *testing.T) {
	db := newTable(t)
	c := ledger.New(db, table)
	if _, err := c.PutAck(t.Context(), ack(1)); err != nil {
		t.Fatal(err)
	}
	// IAM lets worker 2 write anything into its own item, also worker 1's name.
	out, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(table), Key: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: arn(1)}, "sk": &types.AttributeValueMemberS{Value: "ack#" + secret}}})
	if err != nil {
		t.Fatal(err)
	}
	out.Item["pk"] = &types.AttributeValueMemberS{Value: arn(2)}
	out.Item["generation"] = &types.AttributeValueMemberN{Value: "99"}
	if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(table), Item: out.Item}); err != nil {
		t.Fatal(err)
	}
	acks, err := c.Acks(t.Context(), secret, []string{arn(1), arn(2)}, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(acks) != 1 || acks[arn(1)].Generation != 3 {
		t.Errorf("got %d acknowledgements, worker 1 at generation %d", len(acks), acks[arn(1)].Generation)
	}
}

// throttled answers BatchGetItem with part of every batch left unprocessed, as DynamoDB does under load.
type throttled struct {
	*dynamodb.Client
	left atomic.Int64 // partial answers
}

func (d *throttled) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	all := in.RequestItems[table].Keys
	half := (len(all) + 1) / 2
	out, err := d.Client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: {Keys: all[:half]}}}, opts...)
	if err == nil && half < len(all) {
		d.left.Add(1)
		out.UnprocessedKeys = map[string]types.KeysAndAttributes{table: {Keys: slices.Clone(all[half:])}}
	}
	return out, err
}

func TestManyAcknowledgementsAreReadInBatchesAndThroughThrottling(t *testing.T) {
	db := &throttled{Client: newTable(t)}
	c := ledger.New(db, table)
	var workers []string
	for n := range 150 {
		workers = append(workers, arn(n))
		if n%3 == 0 {
			continue // silent
		}
		if _, err := c.PutAck(t.Context(), ack(n)); err != nil {
			t.Fatal(err)
		}
	}
	acks, err := c.Acks(t.Context(), secret, workers, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(acks) != 100 || db.left.Load() == 0 {
		t.Errorf("got %d acknowledgements of 100, %d answers were partial", len(acks), db.left.Load())
	}
}

func TestTheBeaconNeverGoesBack(t *testing.T) {
	c := ledger.New(newTable(t), table)
	if _, found, err := c.Beacon(t.Context(), secret); found || err != nil {
		t.Fatalf("found %v, %v before anything was published", found, err)
	}
	b := ledger.Beacon{SecretARN: secret, Generation: 5, KeysetVersionID: "v5", Phase: keyset.PhasePending, FleetSize: 3, PublishedAt: now}
	for range 2 { // a repetition is no fault
		if err := c.PutBeacon(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	late := b
	late.Generation, late.KeysetVersionID = 4, "v4"
	if err := c.PutBeacon(t.Context(), late); !errors.Is(err, ledger.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	got, _, err := c.BeaconConsistent(t.Context(), secret)
	if diff := cmp.Diff(b, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestReportsComeNewestFirst(t *testing.T) {
	c := ledger.New(newTable(t), table)
	for _, generation := range []int64{2, 10, 9} {
		r := ledger.Report{SecretARN: secret, Generation: generation, Phase: "testSecret", At: now, Reasons: map[string]int{"silent": 1}}
		if err := c.PutReport(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	reports, err := c.Reports(t.Context(), secret, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || reports[0].Generation != 10 || reports[1].Generation != 9 || reports[0].Reasons["silent"] != 1 {
		t.Errorf("got %+v", reports)
	}
}

func TestOneInvocationAtATimeHoldsTheLease(t *testing.T) {
	c := ledger.New(newTable(t), table)
	mine := ledger.Lease{SecretARN: secret, Owner: "request-1", Purpose: "promoting"}
	other := ledger.Lease{SecretARN: secret, Owner: "request-2", Purpose: "aborting"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.AcquireLease(t.Context(), mine, now, time.Minute))
	must(c.AcquireLease(t.Context(), mine, now, time.Minute)) // renewed
	if err := c.AcquireLease(t.Context(), other, now.Add(time.Minute), time.Minute); !errors.Is(err, ledger.ErrLeaseHeld) {
		t.Fatalf("got %v, want ErrLeaseHeld", err)
	}
	must(c.ReleaseLease(t.Context(), other)) // not its to release
	if err := c.AcquireLease(t.Context(), other, now, time.Minute); !errors.Is(err, ledger.ErrLeaseHeld) {
		t.Fatalf("got %v, want ErrLeaseHeld", err)
	}
	must(c.ReleaseLease(t.Context(), mine))
	must(c.AcquireLease(t.Context(), other, now, time.Minute))
	must(c.AcquireLease(t.Context(), mine, now.Add(2*time.Minute), time.Minute)) // the other's has run out
}

func TestEveryWorkerThatAcknowledgedIsFoundInSeveralPages(t *testing.T) {
	c := ledger.New(newTable(t), table)
	want := map[string]int{}
	for n := range 900 { // of 2 KB, in pages of 1 MB
		a := ack(n)
		a.Banner = strings.Repeat("x", 2000)
		switch {
		case n%3 == 1:
			a.ExpiresAt = now.Unix()
		case n%3 == 2:
			a.SecretARN += "-other"
		default:
			want[a.Worker] = 1
		}
		if _, err := c.PutAck(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.PutBeacon(t.Context(), ledger.Beacon{SecretARN: secret, Generation: 1}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	if err := c.EachWorker(t.Context(), secret, now, func(worker string) { got[worker]++ }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
}
