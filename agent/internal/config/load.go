package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
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
	if _, ok := errors.AsType[*lineError](err); ok {
		return fmt.Errorf("%s:%w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func parse(data []byte) (Config, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return Config{}, located(err)
	}
	c := Default()
	switch len(file.Docs) {
	case 0:
	case 1:
		err = decode(file.Docs[0].Body, &c)
	default:
		err = errors.New("more than one YAML document")
	}
	if err != nil {
		return Config{}, located(err)
	}
	return c, c.Validate()
}

// decode overwrites those fields of c that the document has a value for. A key without one, such as a section whose keys are all
// commented out, keeps its default.
func decode(doc ast.Node, c *Config) error {
	if doc == nil || doc.Type() == ast.NullType || doc.Type() == ast.CommentType {
		return nil
	}
	return yaml.NodeToValue(doc, c, yaml.Strict())
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
