// Package imds is an EC2 instance's metadata service, version 2, for one instance on a loopback port of its own.
//
// It promises what the SDKs and an agent read: session tokens with a life, the identity document, role credentials that are
// renewed before they expire, placement, addresses and tags. A request without a valid token is refused; version 1 does not exist.
package imds

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Metadata is what an instance can learn of itself.
type Metadata struct {
	InstanceID string
	PrivateIP  string
	AZ         string
	Region     string
	Account    string
	Type       string
	ImageID    string
	LaunchTime time.Time
	Tags       map[string]string
}

// Credentials are temporary credentials of the instance's role.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Issued, Expires                            time.Time
}

// Deps is what the service of one instance needs.
type Deps struct {
	// Metadata is asked on every request, so that a change of tags shows at once.
	Metadata func() Metadata
	// Issue makes new credentials. It is called when there are none or when less than a twelfth of their life is left: clients see new
	// ones before the old ones expire, as on EC2. Nil means an instance without a role.
	Issue func() Credentials
	// Role is the name of the instance's role.
	Role string
}

// Server is a running metadata service.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{}
}

// Start listens on a free port of 127.0.0.1 and serves until Close.
func Start(d Deps) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for instance metadata: %w", err)
	}
	s := &Server{http: &http.Server{Handler: Handler(d), ReadHeaderTimeout: time.Minute}, listener: l, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with ErrServerClosed only
	}()
	return s, nil
}

// URL is the value for AWS_EC2_METADATA_SERVICE_ENDPOINT.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close stops the service, cutting off requests that are under way, and waits until it has stopped.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// handler answers for one instance.
type handler struct {
	deps   Deps
	tokens sessions
	role   roleCredentials
}

// Handler returns the metadata service of one instance.
func Handler(d Deps) http.Handler {
	return &handler{deps: d, role: roleCredentials{issue: d.Issue}}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		h.putToken(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		fail(w, http.StatusMethodNotAllowed)
	case !h.tokens.valid(r.Header.Get("X-Aws-Ec2-Metadata-Token"), time.Now()):
		fail(w, http.StatusUnauthorized)
	default:
		h.get(w, r)
	}
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/latest/")
	body, err := h.lookup(path)
	if errors.Is(err, errNotFound) {
		fail(w, http.StatusNotFound)
		return
	}
	if err != nil {
		fail(w, http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // a client that went away is no concern of the server
}

// fail answers with a status and EC2's little page.
func fail(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html><body><h1>%d - %s</h1></body></html>\n", status, http.StatusText(status))
}
