// Lambdazip packs the rotator's program for AWS Lambda: one file, bootstrap, at the root of the archive. Equal programs make equal
// archives, whenever and wherever they are packed.
package main

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: lambdazip BOOTSTRAP ARCHIVE")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip: error:", err)
		os.Exit(1)
	}
}

// pack replaces archive by one that holds program as bootstrap.
func pack(program, archive string) (err error) {
	src, err := os.Open(program)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	return write(dst, src)
}

func write(dst io.Writer, program io.Reader) error {
	w := zip.NewWriter(dst)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	// The earliest time that the format knows: AWS Lambda does not look at it.
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o755)
	f, err := w.CreateHeader(header)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, program); err != nil {
		return err
	}
	return w.Close()
}
