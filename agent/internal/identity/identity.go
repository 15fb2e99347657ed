// Package identity says which EC2 instance this machine is: by the instance metadata service, which the machine cannot lie to IAM
// about, or by configuration. It proves nothing: what a worker may do under its name, IAM decides by the credentials that the
// instance gets from the same service.
package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Worker is the machine's identity.
type Worker struct {
	ARN       string // arn:PARTITION:ec2:REGION:ACCOUNT:instance/ID
	Partition string // "aws", "aws-cn", …
	Region    string
	Account   string
	ID        string // "i-…"
}

// ErrNotEC2 says that no instance metadata service answers: this is not an EC2 instance, or the service is switched off.
var ErrNotEC2 = errors.New("the EC2 instance metadata service does not answer")

// Documents is where FromMetadata asks; *imds.Client is one.
type Documents interface {
	GetInstanceIdentityDocument(context.Context, *imds.GetInstanceIdentityDocumentInput, ...func(*imds.Options)) (*imds.GetInstanceIdentityDocumentOutput, error)
}

// Metadata is a client for the machine's instance metadata service. It speaks IMDSv2 only: version 1 lets any process that can be
// made to fetch a URL act as the instance. It obeys AWS_EC2_METADATA_SERVICE_ENDPOINT. Answers are bounded.
func Metadata() *imds.Client {
	return imds.New(imds.Options{EnableFallback: aws.FalseTernary, HTTPClient: awsconf.MetadataHTTPClient()})
}

// FromMetadata asks the instance metadata service. It blocks for a few seconds when nothing answers, which is ErrNotEC2.
func FromMetadata(ctx context.Context, d Documents) (Worker, error) {
	doc, err := d.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Worker{}, fmt.Errorf("asking for the instance identity document: %w: %w", ErrNotEC2, err)
	}
	arn := fmt.Sprintf("arn:%s:ec2:%s:%s:instance/%s", partition(doc.Region), doc.Region, doc.AccountID, doc.InstanceID)
	w, err := FromARN(arn)
	if err != nil {
		return Worker{}, fmt.Errorf("reading the instance identity document: %w", err)
	}
	return w, nil
}

// FromARN takes the identity from an instance's ARN.
func FromARN(arn string) (Worker, error) {
	if !ledger.ValidWorker(arn) {
		return Worker{}, fmt.Errorf("%q is not the ARN of an EC2 instance", arn)
	}
	part := strings.SplitN(arn, ":", 6)
	return Worker{ARN: arn, Partition: part[1], Region: part[3], Account: part[4], ID: ledger.InstanceID(arn)}, nil
}

// partition is the partition of a region, by the prefixes in the SDK's own partitions.json. The identity document does not name it.
func partition(region string) string {
	for _, p := range [...]struct{ prefix, name string }{
		{"cn-", "aws-cn"},
		{"us-gov-", "aws-us-gov"},
		{"us-iso-", "aws-iso"},
		{"us-isob-", "aws-iso-b"},
		{"eu-isoe-", "aws-iso-e"},
		{"us-isof-", "aws-iso-f"},
		{"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}
