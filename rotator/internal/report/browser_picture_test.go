//go:build browsertest

package report

import (
	"fmt"
	"os"
	"testing"
)

// pictured are the measures of the picture. Fonts differ from machine to machine, and so does the height of text.
const (
	pictureWidth = 1120
	pictureSlack = 16
)

// picturedPart leaves of a page what fits into a README, with the first few workers, and gives it as XHTML.
const picturedPart = `(() => {
	for (const id of ["h-waivers", "h-history"]) document.getElementById(id).parentElement.remove();
	document.querySelectorAll("footer, script, form, nav, details, input").forEach((e) => e.remove());
	document.querySelectorAll("#rows tr").forEach((tr, i) => { if (i >= 6) tr.remove(); });
	document.querySelectorAll("th button").forEach((b) => b.replaceWith(b.textContent));
	document.getElementById("count").textContent += " The first 6:";
	const style = document.querySelector("style").textContent;
	const part = document.createElement("div");
	part.append(...document.body.childNodes);
	document.body.append(part);
	return { style, height: document.documentElement.scrollHeight, body: new XMLSerializer().serializeToString(part) };
})()`

// TestPicture makes no test: it makes the README's picture out of a page. make report-picture calls it.
func TestPicture(t *testing.T) {
	from, to := os.Getenv("ROTATESSH_PICTURE_FROM"), os.Getenv("ROTATESSH_PICTURE_TO")
	if from == "" || to == "" {
		t.Skip("not run: it makes a picture for make report-picture")
	}
	b := startBrowser(t)
	b.attach()
	b.open(from, pictureWidth, "light")
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": pictureWidth, "height": 10, "deviceScaleFactor": 1, "mobile": true}, nil)
	var part struct {
		Style, Body string
		Height      int
	}
	b.eval(picturedPart, &part)
	picture := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img" aria-label="A report of a rotation">
<foreignObject width="100%%" height="100%%"><body xmlns="http://www.w3.org/1999/xhtml"><style>%s
body { height: 100%%; }</style>%s</body></foreignObject>
</svg>
`, pictureWidth, part.Height+pictureSlack, part.Style, part.Body)
	if err := os.WriteFile(to, []byte(picture), 0o644); err != nil {
		t.Fatal(err)
	}
}
