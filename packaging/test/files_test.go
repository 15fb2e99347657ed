package installtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestImageFiles reads what operators copy: it has to be YAML, and to name what the package has.
func TestImageFiles(t *testing.T) {
	for name, wants := range map[string][]string{
		"cloud-init.yaml":             {"#cloud-config\n", "/etc/rotatessh/agent.yaml", "rotatessh-agent.service"},
		"imagebuilder-component.yaml": {"schemaVersion: 1.0", "agent-in-image.sh", "rotatessh-agent.service"},
	} {
		text, err := os.ReadFile(filepath.Join(repository, "packaging/image", name))
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
	if text, _ := os.ReadFile(repository + "/packaging/image/cloud-init.yaml"); !strings.HasPrefix(string(text), "#cloud-config\n") {
		t.Error("cloud-init knows its files by their first line")
	}
}
