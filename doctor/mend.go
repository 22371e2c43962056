package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/plan"
)

// Mender runs the commands of findings.
type Mender struct {
	Watch plan.Watcher
	// Self are the words that stand for `mydocker` in a command: the program, and the global options of this call.
	Self  []string
	Texts *lang.Catalogue
}

// Mend runs the commands of one finding, in their order. It stops at the first that fails: those behind it build on it.
func (m *Mender) Mend(ctx context.Context, f Finding) error {
	for _, c := range f.Commands {
		op := plan.Step{Cmd: c, Reason: m.Texts.Text("doctor." + f.ID + ".mend")}
		if err := plan.Do(m.Watch, op, func() error { return m.run(ctx, c) }); err != nil {
			return fmt.Errorf("mend %s of %s: %w", f.ID, f.Object, err)
		}
	}
	return nil
}

// run starts the command without a shell.
func (m *Mender) run(ctx context.Context, command string) error {
	words, err := split(command)
	if err != nil {
		return err
	}
	if words[0] == "mydocker" && len(m.Self) > 0 {
		words = append(append([]string{}, m.Self...), words[1:]...)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%s: this program is not installed: %w", command, err)
		}
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// split parts a command into words as a shell does, as far as our commands go: single quotes, double quotes with backslashes.
func split(command string) (words []string, err error) {
	var word strings.Builder
	open, quote := false, byte(0)
	for i := 0; i < len(command); i++ {
		switch ch := command[i]; {
		case quote == '"' && ch == '\\' && i+1 < len(command):
			i++
			word.WriteByte(command[i])
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote, open = ch, true
		case ch == ' ':
			if open || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(ch)
		}
	}
	if open || word.Len() > 0 {
		words = append(words, word.String())
	}
	if quote != 0 || len(words) == 0 {
		return nil, fmt.Errorf("command %q is not understood", command)
	}
	return words, nil
}

// harmless says whether a shell, into which somebody may paste the command, would do only what stands there. A container chooses the
// names of its own links, and `$(reboot)` is short enough for one.
func harmless(command string) bool {
	quote := byte(0)
	for i := 0; i < len(command); i++ {
		ch := command[i]
		switch {
		case ch < ' ' || ch == 0x7f:
			return false
		case quote == '\'':
			if ch == '\'' {
				quote = 0
			}
		case quote == '"':
			if ch == '\\' {
				i++
			} else if ch == '"' {
				quote = 0
			} else if ch == '$' || ch == '`' {
				return false
			}
		case ch == '\'' || ch == '"':
			quote = ch
		case strings.IndexByte("$`;&|<>()*?[]{}~#\\", ch) >= 0:
			return false
		}
	}
	return quote == 0
}
