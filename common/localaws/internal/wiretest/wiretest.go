// Package wiretest puts single services of localaws behind HTTP, for the tests of each with real SDK clients.
//
// It authenticates nobody and knows no faults; localaws' own front does.
package wiretest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Account and Region are those of every request.
const (
	Account = "111122223333"
	Region  = "us-east-1"
)

// Serve answers for the given services, by their signing names, until the test ends. The configuration is for SDK clients.
func Serve(tb testing.TB, services map[string]wire.Handler) aws.Config {
	tb.Helper()
	server := httptest.NewServer(front(services))
	tb.Cleanup(server.Close)
	return aws.Config{
		Region:           Region,
		BaseEndpoint:     aws.String(server.URL),
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
		RetryMaxAttempts: 1,
		HTTPClient:       plainBody{server.Client()},
	}
}

// plainBody hides the WriteTo method of request bodies. smithy-go 1.28 closes a body as soon as the answer's header is there, and
// its WriteTo then answers io.EOF, on which net/http closes the connection: a server as fast as this one loses answers to that race.
type plainBody struct{ client *http.Client }

// Do implements aws.HTTPClient.
func (p plainBody) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = struct{ io.ReadCloser }{req.Body}
	}
	return p.client.Do(req)
}

type front map[string]wire.Handler

func (f front) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r := Request(signingName(req), req.Header.Get("X-Amz-Target"), body)
	r.Host = req.Host
	h, ok := f[r.Service]
	if !ok {
		http.Error(w, "no service "+r.Service, http.StatusNotFound)
		return
	}
	out, err := h.Handle(req.Context(), r)
	if req.Context().Err() != nil {
		return
	}
	wire.Encode(r, wire.NewUUID(), out, err).Write(w)
}

// Request decodes a call; target is the X-Amz-Target header, "" for the query protocols.
func Request(service, target string, body []byte) *wire.Request {
	r := &wire.Request{Service: service, Body: body, Account: Account, Region: Region}
	_, r.Action, _ = strings.Cut(target, ".")
	switch {
	case target == "":
		r.Form, _ = url.ParseQuery(string(body))
		r.Action = r.Form.Get("Action")
		r.Protocol = wire.Query
		if service == "ec2" {
			r.Protocol = wire.EC2Query
		}
	case service == "sqs" || service == "dynamodb":
		r.Protocol = wire.JSON10
	default:
		r.Protocol = wire.JSON11
	}
	return r
}

// signingName reads the service out of Credential=AKID/date/region/service/aws4_request.
func signingName(req *http.Request) string {
	parts := strings.Split(req.Header.Get("Authorization"), "/")
	if len(parts) < 4 {
		return ""
	}
	return parts[3]
}
