package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// Secrets is what a List needs of the SDK's client.
type Secrets interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// List is an operator's own list of workers, for machines that no inventory knows. It is a secret, although nothing
// in it is secret: it has room for some 600 machines where a function's environment has 4 KB in all, its changes
// are recorded with who made them, and the rotator reads Secrets Manager anyway.
type List struct {
	api    Secrets
	secret string
}

// NewList gives the list in the secret of that name or ARN.
func NewList(api Secrets, secret string) *List { return &List{api: api, secret: secret} }

const listSchema = "rotatessh.workers/v1"

// document is the secret's value.
type document struct {
	Schema  string `json:"schema"`
	Workers []struct {
		ARN     string `json:"arn"`
		Address string `json:"address"`
		Name    string `json:"name"`
		Zone    string `json:"zone"`
	} `json:"workers"`
}

// Workers implements Source. A list that cannot be understood whole is an error.
func (l *List) Workers(ctx context.Context) ([]Worker, error) {
	out, err := l.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &l.secret})
	if err != nil {
		return nil, fmt.Errorf("reading the list of workers: %w", err)
	}
	workers, err := parseList([]byte(aws.ToString(out.SecretString)))
	if err != nil {
		return nil, fmt.Errorf("list of workers in secret %q: %w", l.secret, err)
	}
	return workers, nil
}

func parseList(value []byte) ([]Worker, error) {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the document")
	}
	if d.Schema != listSchema {
		return nil, fmt.Errorf("schema is %q instead of %q", d.Schema, listSchema)
	}
	workers := make([]Worker, len(d.Workers))
	seen := make(map[string]bool)
	for i, w := range d.Workers {
		switch {
		case !ledger.ValidWorker(w.ARN):
			return nil, fmt.Errorf("worker %d: arn %q is not of the form that agents acknowledge under", i+1, w.ARN)
		case w.Address == "":
			return nil, fmt.Errorf("worker %d, %s: address is missing", i+1, w.ARN)
		case seen[w.ARN]:
			return nil, fmt.Errorf("worker %d, %s: it is in the list twice", i+1, w.ARN)
		}
		seen[w.ARN] = true
		workers[i] = Worker{ARN: w.ARN, ID: ledger.InstanceID(w.ARN), Name: w.Name, Address: w.Address, Zone: w.Zone}
	}
	return workers, nil
}
