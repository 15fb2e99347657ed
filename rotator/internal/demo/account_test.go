package demo

import "testing"

func TestLockedAccountIsRecognised(t *testing.T) {
	const shadow = "root:*:19000:0:99999:7:::\nroo:!:1::::::\nlocked:!$y$j9T$x:1::::::\nopen:$y$j9T$x:1::::::\n"
	for name, want := range map[string]bool{"root": false, "locked": true, "open": false, "absent": false, "roo": true} {
		if got := locked([]byte(shadow), name); got != want {
			t.Errorf("%s: locked is %v, want %v", name, got, want)
		}
	}
}
