package cli

import (
	"context"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

// BenchmarkRunLine is what the command line costs a `run`: the tree of commands, the flags, the reading, up to the options
// that the engine gets.
func BenchmarkRunLine(b *testing.B) {
	args := []string{"run", "-d", "--name", "web", "-net", "br0", "-p", "8080:80", "-e", "A=b", "-m", "64m", "busybox", "httpd", "-f"}
	for b.Loop() {
		v := commands().child(args[0])
		words, _, err := canonical(v, v.flagList(), args[1:])
		if err != nil {
			b.Fatal(err)
		}
		s := &session{lookup: noEnvironment}
		app := s.app(commands(), nil)
		app.Before = nil
		command := v.command(s)
		options, _ := splitArguments(words)
		command.Flags = needed(v.flagList(), options)
		command.Action = func(c *urfave.Context) error {
			_, err := createOptions(c, noEnvironment)
			return err
		}
		app.Commands = []*urfave.Command{command}
		if err := app.RunContext(context.Background(), append([]string{"mydocker", "--", "run"}, words...)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTree is the part of it that grows with the number of commands.
func BenchmarkTree(b *testing.B) {
	for b.Loop() {
		commands()
	}
}
