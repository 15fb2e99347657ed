package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// maxFile bounds what is read: a configuration is a page of text, and not a device.
const maxFile = 1 << 20

// Load reads, decodes and validates the file at path. An error of the file's content begins with path and, where one line is to
// blame, its number. A missing file is fs.ErrNotExist.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	if len(data) > maxFile {
		return Config{}, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	c, err := parse(data)
	if err != nil {
		return Config{}, prefix(path, err)
	}
	return c, nil
}

// lineError is a fault of one line of the file.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %s", e.line, e.text) }

// prefix makes "path:line: text" of a fault that knows its line and "path: text" of one that does not.
func prefix(path string, err error) error {
	var at *lineError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func parse(data []byte) (Config, error) {
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, located(err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("more than one YAML document")
	}
	return c, c.Validate()
}

// located turns the decoder's error, which quotes the file over several lines, into one line with its number.
func located(err error) error {
	var bad yaml.Error
	if !errors.As(err, &bad) || bad.GetToken() == nil || bad.GetToken().Position == nil {
		return err
	}
	text := bad.GetMessage()
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		text = "unknown key " + name
	}
	return &lineError{line: bad.GetToken().Position.Line, text: text}
}
