package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/config"
)

// load loads a file with that text.
func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path)
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "sshd:\nbeacon: {}\n", "keysetSecret:\nusers:\nsshd:\n  port:\n  address:\nbeacon:\n  interval:\n"} {
		c, err := load(t, text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(config.Default(), c); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	c, err := load(t, `
region: eu-west-1
keysetSecret: /prod/keys
ledgerTable: table
stateDir: /srv/state
logLevel: debug
users:
  - name: alice
    file: /etc/ssh/keys/%u
    options: restrict,pty
  - {name: "CORP\\bob"}
protect: ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
worker: {arn: "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"}
sshd: {address: "[::1]:2222", hostKeys: /k/*.pub, port: 22, program: /opt/sshd, configFile: /opt/conf, controllers: [10.0.0.1]}
beacon: {interval: 5m}
fullCheck: {interval: 1h30m}
subscription: {enabled: true, topic: t, queuePrefix: q-}
metrics: {address: "[::1]:9722"}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Region: "eu-west-1", KeysetSecret: "/prod/keys", LedgerTable: "table", StateDir: "/srv/state", LogLevel: "debug",
		Users:        []config.User{{Name: "alice", File: "/etc/ssh/keys/%u", Options: "restrict,pty"}, {Name: `CORP\bob`}},
		Protect:      []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		Worker:       config.Worker{ARN: "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"},
		SSHD:         config.SSHD{Address: "[::1]:2222", HostKeys: "/k/*.pub", Port: 22, Program: "/opt/sshd", ConfigFile: "/opt/conf", Controllers: []string{"10.0.0.1"}},
		Beacon:       config.Beacon{Interval: 5 * time.Minute},
		FullCheck:    config.FullCheck{Interval: 90 * time.Minute},
		Subscription: config.Subscription{Enabled: true, Topic: "t", QueuePrefix: "q-"},
		Metrics:      config.Metrics{Address: "[::1]:9722"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsNameFileAndLine(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":           {"region: x\nregoin: y\n", `agent.yaml:2: unknown key "regoin"`},
		"unknown key in a list": {"users:\n  - name: a\n  - name: b\n    shell: x\n", `agent.yaml:4: unknown key "shell"`},
		"unknown key in a map":  {"sshd:\n  hostkey: x\n", `agent.yaml:2: unknown key "hostkey"`},
		"key twice":             {"region: a\n\nregion: b\n", "agent.yaml:3: "},
		"wrong type":            {"users: alice\n", "agent.yaml:1: "},
		"wrong number":          {"\nsshd: {port: many}\n", "agent.yaml:2: "},
		"not YAML":              {"users: [\n", "agent.yaml:1: "},
		"a list at the top":     {"- a\n", "agent.yaml:1: "},
		"two documents":         {"region: a\n---\nregion: b\n", "agent.yaml: more than one YAML document"},
		"duration without unit": {"beacon: {interval: 60}\n", "agent.yaml:1: "},
		"invalid value":         {"logLevel: loud\n", `agent.yaml: logLevel "loud" is not one of`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.text)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q in it", err, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestOversizedFile(t *testing.T) {
	_, err := load(t, strings.Repeat("#", 1<<20+1))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	c := config.Config{
		StateDir: "relative", Protect: []string{"MD5:aa"}, Worker: config.Worker{ARN: "i-1"},
		Users:  []config.User{{Name: ""}, {Name: "a b"}, {Name: "x", File: "%k"}, {Name: "x", Options: "nonsense"}},
		SSHD:   config.SSHD{Address: "127.0.0.1", HostKeys: "[", Port: 70000, Program: "sshd", ConfigFile: "conf", Controllers: []string{"10.0.0.0/8"}},
		Beacon: config.Beacon{Interval: time.Millisecond}, FullCheck: config.FullCheck{Interval: 48 * time.Hour},
		Subscription: config.Subscription{Topic: "a topic", QueuePrefix: strings.Repeat("q", 61)},
		Metrics:      config.Metrics{Address: "0.0.0.0:9722"},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"keysetSecret is empty", "ledgerTable is empty", `stateDir "relative"`, `logLevel ""`, `protect "MD5:aa"`, `worker.arn "i-1"`,
		`user name "" is not one`, `user name "a b" is not one`, `user "x": file "%k"`, `user "x" is listed twice`, `user "x": options`,
		`sshd.address "127.0.0.1"`, `sshd.hostKeys "["`, "sshd.port 70000", `sshd.program "sshd"`, `sshd.configFile "conf"`, `sshd.controllers "10.0.0.0/8"`, "beacon.interval 1ms", "fullCheck.interval 48h0m0s",
		`subscription.topic "a topic"`, "subscription.queuePrefix", `metrics.address "0.0.0.0:9722"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported:\n%v", want, err)
		}
	}
	if err := (config.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "users is empty") {
		t.Errorf("no users: %v", err)
	}
	if err := config.Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
}

func TestExpandFollowsSSHD(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                    "/home/al/.ssh/authorized_keys",
		".ssh/keys":           "/home/al/.ssh/keys",
		"%h/.keys":            "/home/al/.keys",
		"/etc/keys/%u":        "/etc/keys/al",
		"/etc/keys/%u/../%%u": "/etc/keys/%u",
		"/etc//keys/./%u%%%h": "/etc/keys/al%/home/al",
		"keys-of-%u":          "/home/al/keys-of-al",
	} {
		if got := (config.User{Name: "al", File: pattern}).Expand("/home/al"); got != want {
			t.Errorf("%q gives %q, want %q", pattern, got, want)
		}
	}
}

func TestPersonal(t *testing.T) {
	for pattern, want := range map[string]bool{
		"": true, ".ssh/k": true, "%h/k": true, "/etc/%u": true, "/data%h/k": true, "/etc/keys": false, "/etc/%%u": false, "/etc/%%%u": true,
	} {
		if got := (config.User{Name: "al", File: pattern}).Personal(); got != want {
			t.Errorf("%q: %v, want %v", pattern, got, want)
		}
	}
}

func TestListenPort(t *testing.T) {
	if p := (config.SSHD{Address: "127.0.0.1:2222"}).ListenPort(); p != 2222 {
		t.Errorf("port %d", p)
	}
	if p := (config.SSHD{Address: "127.0.0.1:2222", Port: 22}).ListenPort(); p != 22 {
		t.Errorf("port %d", p)
	}
}

const shipped = "../../../packaging/etc/agent.yaml"

// The shipped file has every key, commented out, with the value that it has anyway.
func TestShippedFileHasEveryKeyWithItsDefault(t *testing.T) {
	asIs, err := config.Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), asIs); diff != "" {
		t.Errorf("the shipped file is not the default: %s", diff)
	}
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	// A key's comment begins at "#" at once, prose with a blank after it; the keys of a list's element stand below "#  - ".
	text := regexp.MustCompile(`(?m)^( *)#( *(?:- )?[a-zA-Z]+:.*)$`).ReplaceAllString(string(data), "$1$2")
	text = regexp.MustCompile(`(?m)^ (file|options): (the|written).*$`).ReplaceAllString(text, "")
	c, err := load(t, text)
	if err != nil {
		t.Fatalf("with every key put in force: %v\n%s", err, text)
	}
	want := config.Default()
	want.Protect, want.SSHD.Controllers = []string{}, []string{}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("the values shown are not the defaults: %s", diff)
	}
	for _, key := range keys(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`(?m)^ *(- )?` + key + `:`).MatchString(text) {
			t.Errorf("key %q is not shown", key)
		}
	}
}

// keys are the names of all keys, those of nested structs included.
func keys(t reflect.Type) []string {
	var list []string
	for f := range t.Fields() {
		list = append(list, f.Tag.Get("yaml"))
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			list = append(list, keys(inner)...)
		}
	}
	return list
}

func TestMetricsStayOnTheMachine(t *testing.T) {
	for address, want := range map[string]bool{
		"": true, "127.0.0.1:9722": true, "127.0.0.2:1": true, "[::1]:9722": true, "[::ffff:127.0.0.1]:9722": true,
		":9722": false, "0.0.0.0:9722": false, "[::]:9722": false, "10.0.0.1:9722": false, "localhost:9722": false, "127.0.0.1": false,
		"127.0.0.1:0": false, "127.0.0.1:99999": false,
	} {
		c := config.Default()
		c.Metrics.Address = address
		if err := c.Validate(); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}
