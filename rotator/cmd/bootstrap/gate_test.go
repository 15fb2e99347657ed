package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// crowd is a fleet without machines: instances, and what their agents would have acknowledged.
type crowd struct {
	*deployment
	size     int
	ackBytes int // of one item, as JSON

	mu     sync.Mutex
	rounds []round
	peak   int           // the function's peak resident memory in KiB, when the last round ended
	cpu    time.Duration // and its processor time
	ended  chan struct{}
}

// round is what the gate asks for between two looks at the keyset.
type round struct {
	start, end time.Time
	keys       int // acknowledgements
	calls      int // BatchGetItem
	listed     int // pages of the inventory
}

// unready is why every fiftieth worker, from the nth on, is not ready: a tenth of all.
func unready(n int, a *ledger.Ack) (silent bool) {
	switch n % 50 {
	case 0:
		a.Outcome, a.Code, a.Message = ledger.Failed, "no-space", "writing /home/ec2-user/.ssh/authorized_keys: no space left on device"
	case 1:
		a.Generation--
	case 2:
		a.Users[0].Fingerprints = a.Users[0].Fingerprints[:1]
	case 3:
		a.Users[0].Keys[1].Accepted, a.Users[0].Keys[1].Why = ledger.No, "sshd refuses it"
	case 4:
		return true
	}
	return false
}

// reasons is what unready makes of n workers.
func reasons(n int) []string {
	codes := []string{"failed:no-space", "behind", "incomplete", "refused", "silent"}
	for i, code := range codes {
		codes[i] = fmt.Sprintf("%s %d", code, n/50)
	}
	return codes
}

func (c *crowd) instance(n int) string { return fmt.Sprintf("i-%017x", n) }

// ack is an acknowledgement of the size that a real agent's has on a machine with the usual three host keys.
func (c *crowd) ack(n int, doc keystore.Document) ledger.Ack {
	now := time.Now().UTC()
	u := ledger.User{Name: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys"}
	for _, k := range doc.Keyset.Keys {
		u.Fingerprints = append(u.Fingerprints, k.PublicKey.Fingerprint())
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: k.PublicKey.Fingerprint(), State: string(k.State), Accepted: ledger.Yes})
	}
	for _, k := range doc.Keyset.Retired {
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: k.Fingerprint, State: "retired", Accepted: ledger.No})
	}
	return ledger.Ack{
		Worker: "arn:aws:ec2:us-east-1:111122223333:instance/" + c.instance(n), SecretARN: c.arn,
		KeysetARN: doc.ARN, KeysetVersionID: doc.VersionID, Generation: doc.Keyset.Generation, Pass: 1, Outcome: ledger.Applied,
		Users: []ledger.User{u}, Port: 22, Banner: "SSH-2.0-OpenSSH_8.7", SettingsHash: strings.Repeat("5e", 32), AgentVersion: "v0.1.0",
		HostKeys:  []string{"ssh-ed25519 " + noise(51), "ecdsa-sha2-nistp256 " + noise(104), "ssh-rsa " + noise(407)},
		AppliedAt: now, ReportedAt: now, ExpiresAt: now.Add(ledger.AckLifetime).Unix(),
	}
}

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return base64.StdEncoding.EncodeToString(b)
}

// acknowledge writes everybody's acknowledgement of the keyset in force, 25 at a time.
func (c *crowd) acknowledge() error {
	doc, err := c.keysets.Fetch(c.t.Context())
	if err != nil {
		return err
	}
	var writes []types.WriteRequest
	for n := range c.size {
		a := c.ack(n, doc)
		if unready(n, &a) {
			continue
		}
		item, err := attributevalue.MarshalMapWithOptions(a, func(o *attributevalue.EncoderOptions) { o.TagKey = "json" })
		if err != nil {
			return err
		}
		item["pk"], item["sk"] = &types.AttributeValueMemberS{Value: a.Worker}, &types.AttributeValueMemberS{Value: "ack#" + c.arn}
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
	}
	g, ctx := errgroup.WithContext(c.t.Context())
	g.SetLimit(4)
	for batch := range slices.Chunk(writes, 25) {
		g.Go(func() error {
			_, err := c.db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"rotatessh-ledger": batch}})
			return err
		})
	}
	return g.Wait()
}

// gather makes the crowd and has it acknowledge just before testSecret is called.
func gather(t testing.TB, size int, wait time.Duration) *crowd {
	t.Helper()
	c := &crowd{deployment: deployRetrying(t, time.Hour), size: size, ended: make(chan struct{})}
	c.rotate() // the first key, for nobody yet
	c.patience(wait)
	for n := range size {
		_, err := c.aws.RunInstance(localaws.Instance{
			ID: c.instance(n), Tags: map[string]string{"RotateSSHKeys": "True", "Name": "node"}, NoMetadata: true, LaunchTime: time.Now().Add(-time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	step := func(name string) func(localaws.Call) bool {
		return func(call localaws.Call) bool { return bytes.Contains(call.Input, []byte(name)) }
	}
	c.aws.OnCall(localaws.Fault{Service: "lambda", Action: "Invoke", Match: step("testSecret"), Before: func(localaws.Call) error {
		err := c.acknowledge()
		c.aws.OnCall(localaws.Fault{After: c.count})
		return err
	}})
	c.startRotation()
	return c
}

// count follows the rounds. The third one's beginning ends the second one.
func (c *crowd) count(call localaws.Call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.rounds) - 1
	switch {
	case call.Principal != "RotateSSH":
	case call.Action == "DescribeInstances" && last < 0:
		c.rounds = append(c.rounds, round{start: call.Start, listed: 1})
	case last < 0 || last > 1:
	case call.Action == "DescribeInstances":
		c.rounds[last].listed++
	case call.Action == "BatchGetItem":
		c.rounds[last].calls++
		c.rounds[last].end = call.End
		c.rounds[last].keys += bytes.Count(call.Input, []byte(`"ack#`))
		c.ackBytes = max(c.ackBytes, len(call.Output)/100)
	case call.Action == "GetSecretValue" && c.rounds[last].calls > 0:
		c.peak, c.cpu = usage(c.aws.FunctionPIDs("RotateSSH"))
		c.rounds = append(c.rounds, round{start: call.Start})
		if last == 1 {
			close(c.ended)
		}
	}
	return nil
}

// usage is the largest resident set that a process has had, in KiB, and the processor time of all; 0 where the
// kernel does not tell.
func usage(pids []int) (peak int, cpu time.Duration) {
	for _, pid := range pids {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if value, found := strings.CutPrefix(line, "VmHWM:"); found {
				kib, _ := strconv.Atoi(strings.Fields(value)[0])
				peak = max(peak, kib)
			}
		}
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
		if fields := strings.Fields(after); len(fields) > 12 {
			for _, ticks := range fields[11:13] {
				n, _ := strconv.Atoi(ticks)
				cpu += time.Duration(n) * 10 * time.Millisecond
			}
		}
	}
	return peak, cpu
}

// wait returns once two rounds are over.
func (c *crowd) wait() {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-c.t.Context().Done():
		c.t.Fatal("the gate did not come to a third round")
	}
}

func TestGateAsksAgainOnlyThoseWhoAreNotReady(t *testing.T) {
	const size = 1500
	c := gather(t, size, 20*time.Second)
	c.wait()
	c.mu.Lock()
	first, second := c.rounds[0], c.rounds[1]
	c.mu.Unlock()
	if first.keys != size || first.listed != 2 {
		t.Errorf("the first round asked for %d acknowledgements of %d, and for %d pages of the inventory", first.keys, size, first.listed)
	}
	if second.keys != size/10 || second.calls != 2 || second.listed != 0 {
		t.Errorf("the second round asked for %d acknowledgements of %d that were not ready, in %d calls, and for %d pages of the inventory",
			second.keys, size/10, second.calls, second.listed)
	}
	var report ledger.Report
	c.eventually("testSecret has reported", func() bool {
		reports, err := c.ledger.Reports(t.Context(), c.arn, 1)
		if err == nil && len(reports) == 1 && reports[0].Phase == "testSecret" {
			report = reports[0]
		}
		return report.Phase != ""
	})
	if report.Passed || report.Expected != size || report.Ready != size*9/10 || len(report.Reasons) != 5 {
		t.Errorf("report is %+v", report)
	}
	for _, want := range append(reasons(size), "1350 of 1500 workers are ready", c.instance(0)+" (failed:no-space: writing /home", "and 140 more") {
		if !strings.Contains(report.Message, want) {
			t.Errorf("message lacks %q:\n%s", want, report.Message)
		}
	}
}

// BenchmarkGate has the function, a process of its own, find out who of 100,000 workers is ready.
func BenchmarkGate(b *testing.B) {
	const size = 100_000
	for b.Loop() {
		c := gather(b, size, 15*time.Minute)
		c.wait()
		first, second := c.rounds[0], c.rounds[1]
		if first.keys != size || second.keys != size/10 {
			b.Fatalf("%d acknowledgements were asked for, then %d", first.keys, second.keys)
		}
		b.ReportMetric(first.end.Sub(first.start).Seconds(), "s/first-round")
		b.ReportMetric(second.end.Sub(second.start).Seconds(), "s/next-round")
		b.ReportMetric(float64(c.peak)/1024, "MiB-peak")
		b.ReportMetric(c.cpu.Seconds(), "s-processor")
		b.ReportMetric(float64(first.calls+first.listed), "calls")
		b.ReportMetric(float64(second.keys), "asked-again")
		b.ReportMetric(float64(c.ackBytes), "B/ack")
		b.ReportMetric(0, "ns/op")
	}
}
