package main

import (
	"io"
	"path/filepath"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars shows one progress bar for the file that is being copied, on a terminal only.
type bars struct {
	container *mpb.Progress
	bar       *mpb.Bar
	file      string
}

func newBars(w io.Writer) *bars {
	if !isTerminal(w) {
		return &bars{}
	}
	return &bars{container: mpb.New(mpb.WithOutput(w), mpb.WithWidth(60))}
}

// progress is an sshclient.Progress.
func (b *bars) progress(file string, moved, total int64) {
	if b.container == nil {
		return
	}
	if b.bar == nil || file != b.file {
		b.finish()
		b.file = file
		b.bar = b.container.AddBar(total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(printable(filepath.Base(file))+" ")),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 6})))
	}
	b.bar.SetCurrent(moved)
}

func (b *bars) finish() {
	if b.bar != nil {
		b.bar.Abort(true)
	}
}

// end takes the bars away and leaves the terminal as it was.
func (b *bars) end() {
	if b.container == nil {
		return
	}
	b.finish()
	b.container.Wait()
}
