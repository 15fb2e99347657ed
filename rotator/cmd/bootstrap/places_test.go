package main

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestFunctionFindsWorkersEverywhereThatSettingsName(t *testing.T) {
	const role, account = "arn:aws:iam::444455556666:role/inventory", "444455556666"
	d := deployRetrying(t, time.Hour, "ROTATESSH_TAGS=Fleet=blue,Role=worker", "ROTATESSH_REGIONS=us-east-1,eu-west-1", "ROTATESSH_ROLES="+role,
		"ROTATESSH_AUTO_SCALING_GROUPS=gpu", "ROTATESSH_STATIC_WORKERS=/dev/ssh/workers")
	d.patience(6 * time.Second)
	d.aws.CreateRole(role)
	var want []string
	launch := func(i localaws.Instance) string {
		t.Helper()
		i.NoMetadata, i.LaunchTime = true, time.Now().Add(-time.Hour)
		out, err := d.aws.RunInstance(i)
		if err != nil {
			t.Fatal(err)
		}
		return out.ID
	}
	tags := map[string]string{"Fleet": "blue", "Role": "worker"}
	want = append(want, launch(localaws.Instance{Tags: tags}), launch(localaws.Instance{Tags: tags, Region: "eu-west-1", Account: account}))
	member := launch(localaws.Instance{Region: "eu-west-1"})
	d.aws.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "gpu", Region: "eu-west-1", Members: map[string]string{member: "InService"}})
	want = append(want, member, "i-0000000000000abcd")
	_, err := d.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("/dev/ssh/workers"), SecretString: aws.String(
		`{"schema":"rotatessh.workers/v1","workers":[{"arn":"arn:aws:ec2:us-east-1:111122223333:instance/i-0000000000000abcd","address":"rack-1.example"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	launch(localaws.Instance{Tags: map[string]string{"Fleet": "blue"}})
	launch(localaws.Instance{Tags: tags, Region: "ap-south-1"})
	d.startRotation()
	var report ledger.Report
	d.eventually("testSecret has failed", func() bool {
		reports, err := d.ledger.Reports(t.Context(), d.arn, 1)
		if err == nil && len(reports) == 1 {
			report = reports[0]
		}
		return report.Phase == "testSecret"
	})
	if report.Expected != len(want) || report.Reasons["silent"] != len(want) {
		t.Errorf("report is %+v", report)
	}
	for _, id := range want {
		if !strings.Contains(report.Message, id) {
			t.Errorf("message lacks %s:\n%s", id, report.Message)
		}
	}
}
