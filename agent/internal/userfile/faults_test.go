package userfile

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
)

func TestFaultsTearNothingAndLoseNothing(t *testing.T) {
	var table strings.Builder
	runs := 1
	if longRun() {
		runs = 10
	}
	total, err := faults.Run(t.Context(), faults.Options{Dir: safeDir(t), Out: &table, Short: !longRun(), Runs: runs}, runRewrite)
	t.Logf("\n%s", table.String())
	if err != nil {
		t.Fatal(err)
	}
	if !total.OK() {
		t.Errorf("%d reports were wrong; %s", total.Wrong, total)
	}
}
