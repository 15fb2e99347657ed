package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/rotatessh/rotatessh/agent/internal/config"
)

const usage = `rotatessh-agent keeps this machine's authorized_keys at the keyset that the rotator publishes.

Usage:
  rotatessh-agent run     [--config FILE]           work until stopped; SIGHUP makes it check everything now
  rotatessh-agent once    [--config FILE]           do one pass and say what it found
  rotatessh-agent status  [--config FILE] [--json]  show how the running agent is doing
  rotatessh-agent check   [--config FILE] [--json]  look for what would go wrong, change nothing
  rotatessh-agent reset-generation [--config FILE] [--yes] [--json]  follow the next keyset, however old it is, after a disaster
  rotatessh-agent purge-keys [--config FILE] [--yes]  remove the managed keys of all users, to uninstall for good
  rotatessh-agent version

Flags:
  --config FILE   configuration (default ` + config.Path + `)
  --json          print one JSON object instead of text
  --yes           do not ask

Exit status: 0 success, 1 failure, 2 wrong command line.

Examples:
  rotatessh-agent check --config ./agent.yaml
  rotatessh-agent status --json | jq .generation
  systemctl reload rotatessh-agent
  rotatessh-agent reset-generation          # after the keyset secret was restored from a backup
`

// options are what the command line says.
type options struct {
	config         string
	json           bool
	yes            bool
	stdout, stderr io.Writer
}

// command is one subcommand. Data goes to opts.stdout, everything else is an error to return or a log line.
type command func(ctx context.Context, opts options) error

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// parse reads the command line. Asking for help prints it and gives a command that does nothing.
func parse(args []string, stdout io.Writer) (command, options, error) {
	if len(args) == 0 {
		return nil, options{}, &usageError{"no command"}
	}
	name := args[0]
	if name == "help" || name == "-h" || name == "--help" || name == "-help" {
		return help(stdout)
	}
	commands := map[string]command{"run": runAgent, "once": once, "status": status, "check": check,
		"reset-generation": resetGeneration, "purge-keys": purgeKeys, "version": version}
	cmd, ok := commands[name]
	if !ok {
		return nil, options{}, &usageError{fmt.Sprintf("unknown command %q", name)}
	}
	opts := options{}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if name != "version" {
		flags.StringVar(&opts.config, "config", config.Path, "")
	}
	if name == "status" || name == "check" || name == "reset-generation" {
		flags.BoolVar(&opts.json, "json", false, "")
	}
	if name == "purge-keys" || name == "reset-generation" {
		flags.BoolVar(&opts.yes, "yes", false, "")
	}
	err := flags.Parse(args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return help(stdout)
	case err != nil:
		return nil, options{}, &usageError{fmt.Sprintf("%s: %s", name, err)}
	case flags.NArg() > 0:
		return nil, options{}, &usageError{fmt.Sprintf("%s takes no arguments: %s", name, strings.Join(flags.Args(), " "))}
	}
	return cmd, opts, nil
}

func help(stdout io.Writer) (command, options, error) {
	_, err := io.WriteString(stdout, usage)
	return func(context.Context, options) error { return err }, options{}, nil
}
