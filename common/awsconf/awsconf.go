// Package awsconf loads the AWS configuration that both programs use: the SDK's standard sources
// (environment, shared files, instance role), with bounded waits and bounded answers.
package awsconf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"

	"github.com/rotatessh/rotatessh/common/awstime"
)

const (
	dialTimeout = 5 * time.Second
	// callTimeout bounds one attempt. The longest regular wait is a 20 s long poll.
	callTimeout = 40 * time.Second
	// maxAnswer bounds one answer's body. The largest regular one is a BatchGetItem of 16 MB; an agent's
	// are far smaller, and set their own bound.
	maxAnswer = 24 << 20
	// maxMetadata bounds an answer of the instance metadata service; its documents take a page.
	maxMetadata = 64 << 10
	// metadataTimeout is the SDK's own: where there is no such service, nobody says so.
	metadataTimeout = time.Second
)

// ErrAnswerTooLarge is returned while reading an answer whose body is larger than the configured bound.
var ErrAnswerTooLarge = errors.New("answer from AWS is larger than allowed")

// Options adjust Load. The zero value is usable.
type Options struct {
	// Region overrides the standard sources when it is not empty.
	Region string
	// Clock, if not nil, observes the Date of every answer.
	Clock *awstime.Clock
	// MaxAnswer bounds an answer's body in bytes; 0 means 24 MiB.
	MaxAnswer int64
}

// Load gives an aws.Config. It blocks only as long as the standard sources do, and not past ctx. An error
// names what is missing; a missing region is one.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	limit := o.MaxAnswer
	if limit == 0 {
		limit = maxAnswer
	}
	metadata := &lateMetadata{}
	settings := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient()),
		// The SDK would write lines of its own to stderr. What matters in them comes back as an error, too.
		config.WithLogger(logging.Nop{}),
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = metadata }),
		config.WithRetryMode(aws.RetryModeStandard),
	}
	if o.Region != "" {
		settings = append(settings, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("loading AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, errors.New("no AWS region: set AWS_REGION or the region setting")
	}
	metadata.Client = imds.NewFromConfig(cfg, func(o *imds.Options) { o.HTTPClient = MetadataHTTPClient() })
	// Only now: the SDK adds the certificates of AWS_CA_BUNDLE to a client of its own type or refuses to load.
	// Clients that fetch other credentials than an instance's are therefore not bounded; they talk to AWS's own sign-in.
	cfg.HTTPClient = &boundedClient{client: cfg.HTTPClient, limit: limit}
	if o.Clock != nil {
		cfg.APIOptions = append(cfg.APIOptions, o.Clock.Middleware)
	}
	return cfg, nil
}

func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(callTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = dialTimeout
			t.MaxIdleConnsPerHost = 4
		})
}

// MetadataHTTPClient is for the instance metadata service, which answers at once and shortly, or not at all.
func MetadataHTTPClient() aws.HTTPClient {
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = metadataTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = metadataTimeout
			t.DisableKeepAlives = true // it is asked a few times a day
		})
	return &boundedClient{client: client, limit: maxMetadata}
}

// lateMetadata is a client that is put in after the configuration which it needs has been loaded.
type lateMetadata struct{ *imds.Client }

// boundedClient passes on answers whose bodies fail once more than limit bytes have been read.
type boundedClient struct {
	client aws.HTTPClient
	limit  int64
}

// Do implements aws.HTTPClient.
func (c *boundedClient) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = readOnly{req.Body}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: c.limit}
	return resp, nil
}

// readOnly hides that a body has the method WriteTo. The SDK closes a request's body once the answer's header
// is there, while net/http may still be asking whether there is more of it. Read then says that there is
// not; the SDK's WriteTo reports io.EOF, which net/http takes for a failed request: it closes the
// connection under the answer that is being read (seen with smithy-go v1.28.9 against a fast server).
type readOnly struct{ io.ReadCloser }

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read fails with ErrAnswerTooLarge instead of delivering a byte past the bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		return int(b.left), ErrAnswerTooLarge
	}
	b.left -= int64(n)
	return n, err
}
