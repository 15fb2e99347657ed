package sshdconf

import (
	"net"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

func TestSettingsTellWhoseTheyAre(t *testing.T) {
	server := sshdtest.Configure(t)
	settings, err := New(Config{File: server.Config, Address: server.Address}).Settings(t.Context(), sshdtest.User(t), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(server.Address)
	if err != nil {
		t.Fatal(err)
	}
	if !settings.Listens(port) {
		t.Errorf("does not listen on %s: %v", port, settings.lines("listenaddress"))
	}
	if settings.Listens("1") || settings.Listens("") {
		t.Error("listens everywhere")
	}
	if !parseSettings("port 22\n").Listens("22") || parseSettings("").Listens("22") {
		t.Error("the port alone does not count")
	}
}
