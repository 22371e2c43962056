package engine

import (
	"errors"
	"fmt"

	"github.com/mydocker/mydocker/container"
)

// What becomes of a container whose start has failed, or whose process has ended.

// startError gives an error of bringUp its exit status: 127 and 126 for the command, 125 for the rest.
func startError(err error) error {
	var command *container.CommandError
	if errors.As(err, &command) {
		if command.Code == 127 {
			err = fmt.Errorf("%w (is it in the image? `mydocker run --rm IMAGE ls /bin /usr/bin` lists its commands)", err)
		}
		return &ExitError{Code: command.Code, Err: err}
	}
	return exitWith(125, err)
}

// execError gives an error of an exec's start its exit status: 127 for a command that is not there, 126 for all else, as Docker's
// daemon has it.
func execError(err error) error {
	var command *container.CommandError
	if errors.As(err, &command) {
		return startError(err)
	}
	return exitWith(126, err)
}

// unknownExitCode is what Docker gives a container that could not be started, where the command is not what was wrong.
const unknownExitCode = 128

// failed records a start that has failed. As Docker has it, a container that was to be started has not been: when it was up before, if
// ever, is what it was. One that a restart policy brings back has ended once more.
func (m *monitor) failed(life, before Life, err error) Life {
	life.FinishedAt = now()
	if life.RestartCount == 0 {
		life.StartedAt, life.FinishedAt = before.StartedAt, before.FinishedAt
		if before.FinishedAt.Before(before.StartedAt) { // nobody recorded that end
			life.FinishedAt = before.StartedAt
		}
	}
	life.Error = err.Error()
	life.ExitCode = unknownExitCode
	if errors.As(err, new(*container.CommandError)) {
		life.ExitCode = exitCode(err)
	}
	return m.remember(life)
}

func (m *monitor) ended(life Life, exit container.Exit, err error) (Life, error) {
	life.FinishedAt = now()
	life.ExitCode = exit.Code
	life.OOMKilled = exit.OOMKilled
	if m.log != nil {
		m.log.endLines()
	}
	told := *m.d
	if fresh, err := m.e.readDefinition(m.d.ID); err == nil { // it may have been renamed
		told.Name = fresh.Name
	}
	m.e.endEvents(&told, life)
	return m.remember(life), err
}

// remember records how it ended.
func (m *monitor) remember(life Life) Life {
	if m.d.Options.AutoRemove {
		return life // gone in a moment
	}
	if err := m.e.writeLife(m.d.ID, life); err != nil {
		life.Error = fmt.Sprintf("the end could not be recorded: %v", err)
	}
	return life
}
