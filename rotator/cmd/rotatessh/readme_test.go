package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What a report shows at 3 a.m. must be found in the README.
func TestReadmeExplainsEveryReasonCode(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"rotator/internal/fleet/assess.go", "agent/internal/keysync/fault.go", "agent/internal/userfile/errors.go", "common/keyset/invalid.go",
	} {
		codes := constants(t, filepath.Join("../../..", file))
		if len(codes) < 9 {
			t.Errorf("%s: found %d codes only: %q", file, len(codes), codes)
		}
		for _, code := range codes {
			if code != "failed:" && !strings.Contains(string(readme), "`"+code+"`") && !strings.Contains(string(readme), "`failed:"+code+"`") {
				t.Errorf("code %q of %s is not explained", code, file)
			}
		}
	}
}

// constants are the values of a Go file's string constants.
func constants(t *testing.T, path string) (values []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if decl, ok := d.(*ast.GenDecl); !ok || decl.Tok != token.CONST {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
			return true
		})
	}
	return values
}
