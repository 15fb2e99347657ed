package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/rotator/internal/settings"
)

func TestDefaultsAreValid(t *testing.T) {
	got, err := settings.Load([]string{"PATH=/bin", "AWS_REGION=us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		KeysetSecret: "/dev/ssh/public", LedgerTable: "rotatessh-ledger", EventBus: "default", QueuePrefix: "rotatessh-", Topic: "rotatessh-keyset-published", Tags: "RotateSSHKeys=True",
		User: "ec2-user", RetireAfter: 15 * time.Minute, BootGrace: 10 * time.Minute, ProbeSample: "10", ProbeConcurrency: 10,
		ProbeCommand: "true", ProbeTimeout: 10 * time.Second, GateMargin: 20 * time.Second, LogLevel: "info",
		Threshold: 100, MinWorkers: 1, MaxShrink: 20, Silent: "block", PushAfter: 2 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestEverySettingIsRead(t *testing.T) {
	got, err := settings.Load([]string{
		"ROTATESSH_KEYSET_SECRET=/a", "ROTATESSH_LEDGER_TABLE=b", "ROTATESSH_EVENT_BUS=c", "ROTATESSH_TAGS=d=e,f=g",
		"ROTATESSH_USER=f", "ROTATESSH_KEY_TYPE=rsa-4096", "ROTATESSH_RETIRE_AFTER=2s", "ROTATESSH_BOOT_GRACE=0s", "ROTATESSH_PROBE_SAMPLE=3",
		"ROTATESSH_PROBE_CONCURRENCY=4", "ROTATESSH_PROBE_COMMAND=g h", "ROTATESSH_PROBE_TIMEOUT=5s", "ROTATESSH_GATE_MARGIN=6s", "ROTATESSH_LOG_LEVEL=debug",
		"ROTATESSH_THRESHOLD=90", "ROTATESSH_MIN_WORKERS=5", "ROTATESSH_MAX_SHRINK=0", "ROTATESSH_SILENT=push", "ROTATESSH_PUSH_AFTER=1s",
		"ROTATESSH_QUEUE_PREFIX=q-", "ROTATESSH_TOPIC=t", "ROTATESSH_ALLOW_UNVERIFIED=true", "ROTATESSH_AUTO_SCALING_GROUPS=one,two", "ROTATESSH_REGIONS=eu-west-1,us-gov-east-1",
		"ROTATESSH_ROLES=arn:aws:iam::444455556666:role/inventory", "ROTATESSH_STATIC_WORKERS=/dev/ssh/workers",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		KeysetSecret: "/a", LedgerTable: "b", EventBus: "c", QueuePrefix: "q-", Topic: "t", Tags: "d=e,f=g", User: "f", KeyType: "rsa-4096",
		RetireAfter: 2 * time.Second, ProbeSample: "3", ProbeConcurrency: 4, ProbeCommand: "g h", ProbeTimeout: 5 * time.Second,
		GateMargin: 6 * time.Second, LogLevel: "debug",
		Threshold: 90, MinWorkers: 5, Silent: "push", PushAfter: time.Second, AutoScalingGroups: []string{"one", "two"}, Regions: []string{"eu-west-1", "us-gov-east-1"},
		AllowUnverified: true, Roles: []string{"arn:aws:iam::444455556666:role/inventory"}, StaticWorkers: "/dev/ssh/workers",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := settings.Load([]string{
		"ROTATESSH_RETIRE_AFTER=0s", "ROTATESSH_BOOT_GRACE=-1s", "ROTATESSH_PROBE_SAMPLE=0", "ROTATESSH_PROBE_CONCURRENCY=0",
		"ROTATESSH_PROBE_TIMEOUT=0s", "ROTATESSH_GATE_MARGIN=0s", "ROTATESSH_KEY_TYPE=dsa", "ROTATESSH_LOG_LEVEL=trace", "ROTATESSH_KEYSETSECRET=x",
		"ROTATESSH_THRESHOLD=101", "ROTATESSH_MIN_WORKERS=0", "ROTATESSH_MAX_SHRINK=-1", "ROTATESSH_SILENT=shout", "ROTATESSH_PUSH_AFTER=-1s",
		"ROTATESSH_TAGS=workers", "ROTATESSH_REGIONS=Ireland", "ROTATESSH_ROLES=admin", "ROTATESSH_TOPIC=arn:aws:sns:eu-west-1:111122223333:t",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"RETIRE_AFTER", "BOOT_GRACE", "PROBE_SAMPLE", "PROBE_CONCURRENCY", "PROBE_TIMEOUT", "GATE_MARGIN", "KEY_TYPE", "LOG_LEVEL", "KEYSETSECRET", "THRESHOLD", "MIN_WORKERS", "MAX_SHRINK", "SILENT", "PUSH_AFTER", "TAGS", "REGIONS", "ROLES", "TOPIC"} {
		if !strings.Contains(err.Error(), "ROTATESSH_"+name) {
			t.Errorf("the error does not name %s:\n%v", name, err)
		}
	}
}

func TestSomethingMustSayWhoIsAWorker(t *testing.T) {
	if _, err := settings.Load([]string{"ROTATESSH_TAGS=none"}); err == nil || !strings.Contains(err.Error(), "who is a worker") {
		t.Errorf("no source of workers: %v", err)
	}
	if _, err := settings.Load([]string{"ROTATESSH_TAGS=none", "ROTATESSH_AUTO_SCALING_GROUPS=workers"}); err != nil {
		t.Errorf("groups alone: %v", err)
	}
}

func TestProbeSampleIsANumberAPercentageOrAll(t *testing.T) {
	for _, c := range []struct {
		text           string
		count, percent int // 0 and 0: refused
	}{{"10", 10, 0}, {"5%", 0, 5}, {"100%", 0, 100}, {"all", 0, 100}, {"0", 0, 0}, {"0%", 0, 0}, {"101%", 0, 0}, {"-1", 0, 0}, {"most", 0, 0}, {"%", 0, 0}} {
		count, percent, err := settings.Settings{ProbeSample: c.text}.Sample()
		if count != c.count || percent != c.percent || (err != nil) != (c.count+c.percent == 0) {
			t.Errorf("%q is %d, %d%%, %v", c.text, count, percent, err)
		}
	}
}

func TestValuesThatDoNotParseAreRefused(t *testing.T) {
	for _, bad := range []string{"ROTATESSH_RETIRE_AFTER=15", "ROTATESSH_PROBE_CONCURRENCY=many", "ROTATESSH_PROBE_SAMPLE=many"} {
		if _, err := settings.Load([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestEmptyVariablesCountAsUnset(t *testing.T) {
	got, err := settings.Load([]string{"ROTATESSH_USER=", "ROTATESSH_RETIRE_AFTER="})
	if err != nil {
		t.Fatal(err)
	}
	if got.User != "ec2-user" || got.RetireAfter != 15*time.Minute {
		t.Errorf("user %q, retire after %v", got.User, got.RetireAfter)
	}
}
