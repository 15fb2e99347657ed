package acceptance

import (
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

func TestMain(m *testing.M) { sshdtest.Main(m) }
